// The examples in the documentation run against this: one connection at a time, a tree in memory, and as much of the
// protocol as they need. It is included, hidden, in front of each. What the client does with real servers is for
// the interoperability tests.

mod example_server {
    use std::collections::BTreeMap;

    use bytes::{Bytes, BytesMut};
    use client::{EventType, Op, Stat};
    use futures::{SinkExt, StreamExt};
    use jute::frame::FrameCodec;
    use jute::multi::{MultiOp, MultiRequest, MultiResponse, MultiResult};
    use jute::proto::*;
    use jute::{DecodeError, ErrorCode, Jute, Reader};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::codec::Framed;

    #[derive(Clone, Default)]
    struct Znode {
        data: Option<Bytes>,
        stat: Stat,
    }

    /// Paths without their trailing slash, so that the root is empty.
    #[derive(Clone, Default)]
    struct Tree {
        znodes: BTreeMap<String, Znode>,
        events: Vec<(EventType, String)>,
    }

    type Answer<T> = Result<T, ErrorCode>;

    /// Starts the server; the answer is what to connect to.
    pub async fn start() -> std::io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move {
            let mut tree = Tree::default();
            tree.znodes.insert(String::new(), Znode::default());
            while let Ok((stream, _)) = listener.accept().await {
                let _ = serve(stream, &mut tree).await;
            }
        });
        Ok(address)
    }

    async fn serve(stream: TcpStream, tree: &mut Tree) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut frames = Framed::new(stream, FrameCodec::default());
        let asked = frames.next().await.ok_or("gone")??;
        let timeout_ms = ConnectRequest::from_bytes(&asked)?.timeout_ms;
        let password = Some(Bytes::from_static(&[1; 16]));
        let granted = ConnectResponse { protocol_version: 0, timeout_ms, session_id: 1, password };
        frames.send(granted.to_bytes()).await?;
        let mut watched: Vec<String> = Vec::new();
        while let Some(frame) = frames.next().await {
            let frame = frame?;
            let mut input = Reader::new(&frame);
            let header = RequestHeader::decode(&mut input)?;
            let op = Op::from_code(header.op).ok_or("no such operation")?;
            if let Some(path) = watch_of(op, &mut input.clone())? {
                watched.push(path);
            }
            let answered = answer(op, &mut input, tree)?;
            for (kind, path) in tree.events.drain(..) {
                if watched.iter().any(|watched| path.starts_with(watched)) {
                    let event = WatcherEvent { event_type: kind.code(), state: 3, path: path.into() };
                    frames.send(framed(-1, 1, 0, &event.to_bytes())).await?;
                }
            }
            let (err, body) = answered.map_or_else(|code| (code.code(), Bytes::new()), |body| (0, body));
            frames.send(framed(header.xid, 1, err, &body)).await?;
        }
        Ok(())
    }

    fn framed(xid: i32, zxid: i64, err: i32, body: &[u8]) -> Bytes {
        let mut frame = BytesMut::from(&ReplyHeader { xid, zxid, err }.to_bytes()[..]);
        frame.extend_from_slice(body);
        frame.freeze()
    }

    /// Whatever is watched stays watched, with all below it: the client takes what it has asked for.
    fn watch_of(op: Op, input: &mut Reader<'_>) -> Result<Option<String>, DecodeError> {
        Ok(match op {
            Op::AddWatch => Some(AddWatchRequest::decode(input)?.path.to_string()),
            Op::GetData | Op::Exists => {
                let read = GetDataRequest::decode(input)?;
                read.watch.then(|| read.path.to_string())
            }
            _ => None,
        })
    }

    fn answer(op: Op, input: &mut Reader<'_>, tree: &mut Tree) -> Result<Answer<Bytes>, DecodeError> {
        Ok(match op {
            Op::Create => tree.create(&Jute::decode(input)?).map(|created| CreateResponse { path: created.path }.to_bytes()),
            Op::Create2 => tree.create(&Jute::decode(input)?).map(|created| created.to_bytes()),
            Op::Delete => tree.delete(&DeleteRequest::decode(input)?.path).map(|()| Bytes::new()),
            Op::SetData => tree.set(&Jute::decode(input)?).map(|stat| stat.to_bytes()),
            Op::Exists => tree.find(&ExistsRequest::decode(input)?.path).map(|znode| znode.stat.to_bytes()),
            Op::GetData => tree.find(&GetDataRequest::decode(input)?.path).map(|znode| {
                GetDataResponse { data: znode.data.clone(), stat: znode.stat }.to_bytes()
            }),
            Op::GetChildren => tree.children(&GetChildrenRequest::decode(input)?.path),
            Op::Multi => Ok(tree.multi(&MultiRequest::decode(input)?).to_bytes()),
            Op::AddWatch => Ok(ErrorResponse { err: 0 }.to_bytes()),
            _ => Ok(Bytes::new()),
        })
    }

    impl Tree {
        fn find(&self, path: &str) -> Answer<&Znode> {
            self.znodes.get(path.trim_end_matches('/')).ok_or(ErrorCode::NoNode)
        }

        fn create(&mut self, asked: &CreateRequest) -> Answer<Create2Response> {
            let (parent, _) = asked.path.rsplit_once('/').ok_or(ErrorCode::BadArguments)?;
            let parent = self.znodes.get_mut(parent).ok_or(ErrorCode::NoNode)?;
            let sequential = asked.flags & 2 != 0;
            let number = if sequential { format!("{:010}", parent.stat.cversion) } else { String::new() };
            parent.stat.cversion += 1;
            let path = format!("{}{number}", asked.path);
            if self.znodes.contains_key(&path) {
                return Err(ErrorCode::NodeExists);
            }
            let znode = Znode { data: asked.data.clone(), stat: Stat::default() };
            self.znodes.insert(path.clone(), znode);
            self.events.push((EventType::NodeCreated, path.clone()));
            Ok(Create2Response { path: path.into(), stat: Stat::default() })
        }

        fn set(&mut self, asked: &SetDataRequest) -> Answer<Stat> {
            let znode = self.znodes.get_mut(&*asked.path).ok_or(ErrorCode::NoNode)?;
            if asked.version != -1 && asked.version != znode.stat.version {
                return Err(ErrorCode::BadVersion);
            }
            znode.data = asked.data.clone();
            znode.stat.version += 1;
            self.events.push((EventType::NodeDataChanged, asked.path.to_string()));
            Ok(znode.stat)
        }

        fn delete(&mut self, path: &str) -> Answer<()> {
            self.znodes.remove(path).ok_or(ErrorCode::NoNode)?;
            self.events.push((EventType::NodeDeleted, path.to_owned()));
            Ok(())
        }

        fn children(&self, path: &str) -> Answer<Bytes> {
            self.find(path)?;
            let above = format!("{}/", path.trim_end_matches('/'));
            let below = self.znodes.keys().filter_map(|path| path.strip_prefix(&above));
            let children = below.filter(|name| !name.contains('/')).map(Into::into).collect();
            Ok(GetChildrenResponse { children }.to_bytes())
        }

        fn multi(&mut self, asked: &MultiRequest) -> MultiResponse {
            let before = self.clone();
            let mut results = Vec::new();
            for op in &asked.ops {
                let result = match op {
                    MultiOp::Create2(asked) => self.create(asked).map(MultiResult::Create2),
                    MultiOp::SetData(asked) => self.set(asked).map(MultiResult::SetData),
                    MultiOp::Delete(asked) => self.delete(&asked.path).map(|()| MultiResult::Delete),
                    MultiOp::Check(asked) => match self.find(&asked.path) {
                        Ok(znode) if znode.stat.version == asked.version => Ok(MultiResult::Check),
                        Ok(_) => Err(ErrorCode::BadVersion),
                        Err(code) => Err(code),
                    },
                    _ => Err(ErrorCode::Unimplemented),
                };
                match result {
                    Ok(result) => results.push(result),
                    Err(code) => {
                        *self = before;
                        results.fill(MultiResult::Error(0));
                        results.push(MultiResult::Error(code.code()));
                        results.resize(asked.ops.len(), MultiResult::Error(-2));
                        break;
                    }
                }
            }
            MultiResponse { results }
        }
    }
}
