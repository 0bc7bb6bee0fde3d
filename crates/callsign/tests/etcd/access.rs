//! Etcd does not let us in, or should not be trusted, for a while.

use std::time::Duration;

use callsign::{
    ErrorKind,
    registry::etcd::{EtcdConfig, TlsConfig},
};
use callsign_testbed::{
    Data, EtcdServer,
    certs::{Authority, Validity},
};
use tokio::time::Instant;

use super::fleet::{Fleet, TTL, soon};

/// Waits until both servers say that they are not let in, and gives what they say.
async fn refused(fleet: &Fleet) -> (ErrorKind, String) {
    soon("it is said why there is no registration", async {
        loop {
            let states = fleet.states();
            let errors: Vec<_> = states.iter().filter_map(|state| state.error()).collect();
            if let [a, _] = &errors[..]
                && a.kind() != ErrorKind::NotFound
            {
                return (a.kind(), format!("{}; {}", a.chain(), a.hint().unwrap_or_default()));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_apart_from_an_outage_and_mended_from_outside() {
    let etcd = EtcdServer::builder().user("shop", "right").start().await;
    let config = EtcdConfig::new(&etcd.endpoint()).unwrap();
    let (right, wrong) = (
        config.clone().with_credentials("shop", "right").unwrap(),
        config.with_credentials("shop", "wrong").unwrap(),
    );
    let fleet = Fleet::start_unregistered(&wrong, &right, TTL).await;
    let (kind, said) = refused(&fleet).await;
    assert_eq!(kind, ErrorKind::PermissionDenied, "{said}");
    assert!(said.contains(&etcd.endpoint()) && said.contains("password"), "{said}");
    assert!(!said.contains("wrong"), "no password is shown: {said}");

    // Nobody touches the processes: the password that they have becomes the right one.
    etcd.change_password("shop", "wrong").await;
    fleet.back(&etcd, Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_changed_under_a_fleet_costs_no_call() {
    let etcd = EtcdServer::builder().user("shop", "right").start().await;
    let config = EtcdConfig::new(&etcd.endpoint()).unwrap().with_credentials("shop", "right").unwrap();
    let fleet = Fleet::start(&config, &config, TTL).await;
    etcd.change_password("shop", "another").await;
    // Whatever is still open goes on; nothing new can be done.
    etcd.delete(&fleet.key()).await;
    fleet.carry_on(TTL + Duration::from_secs(1)).await;
    etcd.change_password("shop", "right").await;
    fleet.back(&etcd, Instant::now()).await;
    fleet.settled(&etcd, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_named_and_renewing_it_is_enough() {
    let authority = Authority::new("etcd");
    let expired = authority.sign("server", &["127.0.0.1"], Validity::Expired);
    let mut etcd = EtcdServer::builder().tls(authority.server()).start().await;
    let tls = TlsConfig::builder().roots_pem(authority.pem()).build().unwrap();
    let config = EtcdConfig::new(&etcd.url()).unwrap().with_tls(tls).unwrap();
    let fleet = Fleet::start(&config, &config, TTL).await;

    etcd.show(&expired);
    etcd.stop().await;
    etcd.restart(Data::Kept).await;
    fleet.stale().await;
    fleet.carry_on(TTL + Duration::from_secs(1)).await;
    let (_, said) = refused(&fleet).await;
    assert!(said.contains("expired") && said.contains("certificate"), "{said}");

    etcd.show(&authority.server());
    fleet.back(&etcd, Instant::now()).await;
    fleet.settled(&etcd, TTL).await;
}
