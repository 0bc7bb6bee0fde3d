//! An etcd whose database is full, and how it comes to have room again.

use serde_json::json;

use crate::{EtcdServer, gateway::encode};

/// The most that etcd may keep in a test that fills it: [`EtcdBuilder::argument`](crate::EtcdBuilder::argument).
pub const SMALL: &str = "--quota-backend-bytes=4194304";

const BALLAST: &str = "callsign-testbed/ballast/";
/// What is put in at a time: below the most that etcd takes in one request.
const PIECE_BYTES: usize = 512 << 10;
/// Pieces after which it should have been full long ago.
const PIECES_MAX: usize = 64;

/// These need an etcd that was started as [`SMALL`].
impl EtcdServer {
    /// Writes until no more is accepted: etcd raises its alarm, and takes only what makes it smaller.
    ///
    /// # Panics
    ///
    /// When it never gets full.
    pub async fn fill(&self) {
        for piece in 0..PIECES_MAX {
            let put = json!({
                "key": encode(format!("{BALLAST}{piece}")),
                "value": encode(vec![b'x'; PIECE_BYTES]),
            });
            match self.gateway.ask("/v3/kv/put", &put).await {
                Ok(_) => {}
                Err(full) if full.to_string().contains("space exceeded") => return,
                Err(other) => panic!("neither written nor full: {other}"),
            }
        }
        panic!("still not full");
    }

    /// Does what etcd's manual says of a full database: delete, compact, defragment, disarm.
    pub async fn make_room(&self) {
        let end = format!("{}0", BALLAST.trim_end_matches('/'));
        let deleted = self
            .gateway
            .order("/v3/kv/deleterange", &json!({ "key": encode(BALLAST), "range_end": encode(end) }))
            .await;
        self.compact(crate::gateway::revision(&deleted)).await;
        self.gateway.order("/v3/maintenance/defragment", &json!({})).await;
        let raised = self.gateway.order("/v3/maintenance/alarm", &json!({ "action": "GET" })).await;
        for alarm in raised["alarms"].as_array().into_iter().flatten() {
            let disarm =
                json!({ "action": "DEACTIVATE", "memberID": alarm["memberID"], "alarm": alarm["alarm"] });
            self.gateway.order("/v3/maintenance/alarm", &disarm).await;
        }
    }
}
