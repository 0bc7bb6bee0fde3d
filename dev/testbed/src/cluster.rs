//! Several etcds that are one.

use tokio::time::{Duration, sleep, timeout};

use crate::{
    PATIENCE,
    etcd::{EtcdBuilder, EtcdServer, Member},
};

/// A cluster of etcds on this machine.
#[derive(Debug)]
pub struct EtcdCluster {
    /// Each of them, to be stopped, killed and paused alone.
    pub members: Vec<EtcdServer>,
}

// === impl EtcdCluster ===

impl EtcdCluster {
    /// Starts `size` members, and waits until they are a cluster.
    ///
    /// # Panics
    ///
    /// When there is no etcd, or it does not start: its log is shown.
    pub async fn start(size: usize) -> Self {
        let all: Vec<_> = (0..size).map(|index| Member::new(&format!("m{index}"))).collect();
        let builder = EtcdBuilder::default();
        let mut members: Vec<_> = all.iter().map(|own| EtcdServer::prepare(&builder, own, &all)).collect();
        let mut starting = tokio::task::JoinSet::new();
        // None is ready before most of them are there.
        for (index, mut member) in members.drain(..).enumerate() {
            starting.spawn(async move {
                member.run().await;
                (index, member)
            });
        }
        let mut started = starting.join_all().await;
        started.sort_by_key(|(index, _)| *index);
        Self { members: started.into_iter().map(|(_, member)| member).collect() }
    }

    /// `host:port` of each, with commas between.
    #[must_use]
    pub fn endpoints(&self) -> String {
        self.members.iter().map(EtcdServer::endpoint).collect::<Vec<_>>().join(",")
    }

    /// Which member leads now, as those that answer see it; waits while they have none.
    ///
    /// # Panics
    ///
    /// When none is found for a minute.
    pub async fn leader(&self) -> usize {
        let led = async {
            loop {
                for (index, member) in self.members.iter().enumerate() {
                    if member.gateway.leads().await {
                        return index;
                    }
                }
                // An election is no event that etcd tells of.
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, led).await.expect("a leader")
    }
}
