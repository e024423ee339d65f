//! Several writes at once, or none.

use jute::multi::{MultiOp, MultiRequest};
use jute::txn::{ErrorTxn, MultiTxn, SubTxn, TxnBody};
use jute::{CreateMode, ErrorCode, Op};

use super::Prep;
use super::create::NewZnode;

impl Prep<'_> {
    /// Judges the parts in order, each against what those before it will leave behind. When one is refused,
    /// nothing happens: the txn then says so part by part, and is still a multi, not an error.
    pub(super) fn multi(&mut self, asked: MultiRequest) -> Result<TxnBody, ErrorCode> {
        if !asked.ops.iter().all(is_well_formed) {
            return Err(ErrorCode::MarshallingError);
        }
        self.outlook.pending().begin();
        let mut txns = Vec::with_capacity(asked.ops.len());
        let mut failed = None;
        for part in asked.ops {
            if failed.is_some() {
                txns.push(refusal(ErrorCode::RuntimeInconsistency));
                continue;
            }
            txns.push(self.part(part).unwrap_or_else(|error| {
                failed = Some(error);
                refusal(error)
            }));
        }
        match failed {
            Some(error) => {
                self.outlook.pending().roll_back();
                // The log has no room for what did not happen.
                if self.room.is_short {
                    return Err(error);
                }
            }
            None => self.outlook.pending().keep(),
        }
        Ok(TxnBody::Multi(MultiTxn { txns }))
    }

    fn part(&mut self, part: MultiOp) -> Result<SubTxn, ErrorCode> {
        let op = part.op();
        let (op, body) = match part {
            MultiOp::Create(asked) | MultiOp::Create2(asked) | MultiOp::CreateContainer(asked) => {
                self.part_create(NewZnode::from_request(op, asked))?
            }
            MultiOp::CreateTtl(asked) => self.part_create(NewZnode::from_ttl_request(asked))?,
            MultiOp::Delete(asked) => (op, self.delete(asked)?),
            MultiOp::SetData(asked) => (op, self.set_data(asked)?),
            MultiOp::Check(asked) => (op, self.check_version(asked)?),
            MultiOp::GetData(_) | MultiOp::GetChildren(_) => return Err(ErrorCode::MarshallingError),
        };
        self.parts.push(op);
        // Replicas before 3.9 know no create2 here, and drop what comes behind it.
        let txn_type = if op == Op::Create2 { Op::Create } else { op };
        Ok(body.to_sub_txn(txn_type.code()))
    }

    fn part_create(&mut self, wanted: NewZnode) -> Result<(Op, TxnBody), ErrorCode> {
        let wanted = wanted.named_by_mode();
        Ok((wanted.op(), self.create(wanted)?))
    }
}

/// It is a write, and one whose mode exists and is whole: else the whole request is as good as undecodable. Modes with a
/// time to live need the operation that brings one.
fn is_well_formed(part: &MultiOp) -> bool {
    match part {
        MultiOp::Create(asked) | MultiOp::Create2(asked) | MultiOp::CreateContainer(asked) => {
            CreateMode::from_code(asked.flags).is_some_and(|mode| !mode.has_ttl())
        }
        _ => !part.is_read(),
    }
}

fn refusal(error: ErrorCode) -> SubTxn {
    TxnBody::Error(ErrorTxn { err: error.code() }).to_sub_txn(Op::Error.code())
}
