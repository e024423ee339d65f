use jute::data::perms;

use super::*;

fn alice() -> Id {
    Id::new("digest", &DigestScheme::default().digest("alice:secret"))
}

fn from(address: &str) -> Id {
    Id::new("ip", address)
}

fn schemes() -> Schemes {
    Schemes::default()
}

#[test]
fn a_digest_is_the_user_and_the_hash_of_user_and_password() {
    // As `DigestAuthenticationProvider.generateDigest` prints it.
    assert_eq!(DigestScheme::default().digest("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
}

#[test]
fn only_the_first_colon_ends_the_user() {
    assert!(DigestScheme::default().digest("bob:pass:word").starts_with("bob:"));
}

#[test]
fn algorithms_go_by_their_java_names() {
    let base64_len = |name| {
        let algorithm = DigestAlgorithm::from_name(name).unwrap();
        DigestScheme { algorithm, super_digest: None }.digest("").len() - ":".len()
    };
    assert_eq!(["SHA1", "SHA-256", "SHA-512", "SHA3-256", "sha3-512"].map(base64_len), [28, 44, 88, 44, 88]);
    assert_eq!(DigestAlgorithm::from_name("MD4"), None);
}

#[test]
fn credentials_make_identities() {
    let accepted = schemes().authenticate("digest", Some(b"alice:secret"));
    assert_eq!(accepted, Authentication::Accepted(vec![alice()]));
    assert_eq!(schemes().authenticate("digest", None), Authentication::Failed);
    assert_eq!(schemes().authenticate("kerberos", Some(b"x")), Authentication::Failed);
    assert_eq!(schemes().authenticate("ip", Some(b"")), Authentication::Accepted(vec![]));
    assert_eq!(schemes().authenticate("world", Some(b"anyone")), Authentication::Failed);
}

#[test]
fn the_super_digest_makes_the_super_user() {
    let digest = DigestScheme {
        super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".to_owned()),
        ..DigestScheme::default()
    };
    let schemes = Schemes { digest: Some(digest), ..schemes() };
    let Authentication::Accepted(ids) = schemes.authenticate("digest", Some(b"super:test")) else {
        panic!("refused");
    };
    assert_eq!(ids[0], Id::new("super", ""));
    let closed = [Acl::new(perms::ALL, "digest", "nobody:x")];
    assert_eq!(schemes.check(&closed, perms::ADMIN, &ids), Ok(()));
    assert_eq!(schemes.check(&closed, perms::ADMIN, &ids[1..]), Err(ErrorCode::NoAuth));
}

#[test]
fn digest_can_be_switched_off() {
    let schemes = Schemes { digest: None, ..schemes() };
    assert_eq!(schemes.authenticate("digest", Some(b"alice:secret")), Authentication::Failed);
    let acl = [Acl { perms: perms::ALL, id: alice() }];
    assert_eq!(schemes.check(&acl, perms::READ, &[alice()]), Err(ErrorCode::NoAuth));
    assert_eq!(schemes.resolve(acl.to_vec().into(), &[alice()]), Err(ErrorCode::InvalidAcl));
}

#[test]
fn a_client_that_means_another_ensemble_is_turned_away() {
    let schemes = Schemes { ensemble_names: Some(vec!["a".to_owned(), "b".to_owned()]), ..schemes() };
    assert_eq!(schemes.authenticate("ensemble", Some(b"b")), Authentication::Accepted(vec![]));
    assert_eq!(schemes.authenticate("ensemble", Some(b"")), Authentication::Accepted(vec![]));
    assert_eq!(schemes.authenticate("ensemble", Some(b"c")), Authentication::WrongEnsemble);
    assert_eq!(
        super::Schemes::default().authenticate("ensemble", Some(b"c")),
        Authentication::Accepted(vec![])
    );
}

#[test]
fn any_entry_with_any_wanted_bit_is_enough() {
    let acl = [Acl::new(perms::READ, "world", "anyone"), Acl { perms: perms::ADMIN, id: alice() }];
    assert_eq!(schemes().check(&acl, perms::READ, &[]), Ok(()));
    assert_eq!(schemes().check(&acl, perms::WRITE, &[alice()]), Err(ErrorCode::NoAuth));
    assert_eq!(schemes().check(&acl, perms::ADMIN, &[from("::1"), alice()]), Ok(()));
    assert_eq!(schemes().check(&acl[1..], perms::READ | perms::ADMIN, &[alice()]), Ok(()));
    assert_eq!(schemes().check(&[], perms::ALL, &[]), Ok(()));
}

#[test]
fn skip_acl_lets_everybody_do_everything() {
    let schemes = Schemes { skip_acl: true, ..schemes() };
    assert_eq!(schemes.check(&[Acl { perms: 0, id: alice() }], perms::WRITE, &[]), Ok(()));
}

#[test]
fn addresses_match_their_networks() {
    for (address, network, expected) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("10.1.2.3", "10.0.0.0/8", true),
        ("11.1.2.3", "10.0.0.0/8", false),
        ("11.1.2.3", "10.0.0.0/0", true),
        ("10.1.2.3", "010.001.2.3", true),
        ("10.1.2.3", "10.0.0.0/33", false),
        ("10.1.2.3", "10.0.0.0/-1", false),
        ("10.1.2.3", "10.0.0/8", false),
        ("0:0:0:0:0:0:0:1", "::1", true),
        ("fe80:0:0:0:1:2:3:4", "fe80::/10", true),
        ("fec0:0:0:0:1:2:3:4", "fe80::/10", false),
        ("0:0:0:0:0:0:0:1", "::/129", false),
        ("0:0:0:0:0:0:0:1", "::/0", true),
        ("127.0.0.1", "::/0", false),
        ("0:0:0:0:0:0:0:1", "0.0.0.0/0", false),
        ("0:0:0:0:0:0:0:1", "1::2::3", false),
        ("0:0:0:0:0:0:0:1", "12345::", false),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", true),
        ("1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", false),
    ] {
        let acl = [Acl::new(perms::READ, "ip", network)];
        let allowed = schemes().check(&acl, perms::READ, &[from(address)]).is_ok();
        assert_eq!(allowed, expected, "{address} in {network}");
    }
}

#[test]
fn an_address_is_written_as_java_writes_it() {
    let id = |text: &str| identity_of(text.parse().unwrap()).id;
    assert_eq!(id("127.0.0.1"), "127.0.0.1");
    assert_eq!(id("::1"), "0:0:0:0:0:0:0:1");
    assert_eq!(id("fe80::1:200"), "fe80:0:0:0:0:0:1:200");
    assert_eq!(id("::ffff:10.0.0.1"), "10.0.0.1");
}

#[test]
fn auth_becomes_the_authenticated_identities() {
    let bob = Id::new("digest", "bob:x");
    let acl = [Acl::new(perms::READ, "auth", ""), Acl::new(perms::READ, "world", "anyone")];
    let resolved = schemes().resolve(acl.to_vec().into(), &[from("::1"), alice(), bob.clone()]).unwrap();
    let expected = [alice(), bob, Id::anyone()].map(|id| Acl { perms: perms::READ, id });
    assert_eq!(*resolved, expected);
    assert_eq!(schemes().resolve(acl.to_vec().into(), &[from("::1")]), Err(ErrorCode::InvalidAcl));
}

#[test]
fn an_acl_must_mean_somebody() {
    for (scheme, id) in [
        ("world", "all"),
        ("digest", "alice"),
        ("digest", "alice:"),
        ("digest", "a:b:c"),
        ("ip", "localhost"),
        ("ip", "10.0.0.0/40"),
        ("super", ""),
        ("sasl", "alice"),
        ("", ""),
    ] {
        let resolved = schemes().resolve(vec![Acl::new(perms::ALL, scheme, id)].into(), &[alice()]);
        assert_eq!(resolved, Err(ErrorCode::InvalidAcl), "{scheme}:{id}");
    }
    assert_eq!(schemes().resolve(AclList::default(), &[alice()]), Err(ErrorCode::InvalidAcl));
}

#[test]
fn duplicates_go_and_order_stays() {
    let (open, closed) = (Acl::new(perms::ALL, "world", "anyone"), Acl::new(perms::READ, "digest", "a:b"));
    let resolved = schemes().resolve(vec![open.clone(), closed.clone(), open.clone()].into(), &[]);
    assert_eq!(resolved, Ok(vec![open, closed].into()));
}

#[test]
fn who_may_not_administrate_sees_no_hashes() {
    let acl = [Acl::new(perms::READ, "digest", "alice:hash:more"), Acl::new(perms::READ, "ip", "::1")];
    let expected = [Acl::new(perms::READ, "digest", "alice:x"), Acl::new(perms::READ, "ip", "::1")];
    assert_eq!(redacted(&acl), expected);
}

#[test]
fn identities_are_described_without_secrets() {
    let described = schemes().describe(&[from("10.0.0.1"), alice(), Id::new("super", "")]);
    let users: Vec<_> = described.iter().map(|info| (&*info.auth_scheme, &*info.user)).collect();
    assert_eq!(users, [("ip", "10.0.0.1"), ("digest", "alice"), ("super", "")]);
}
