//! An HTTP/2 connection that several slots send over at a time. Whoever finds none usable opens one for all of them.

use tokio::sync::Mutex;

use super::http2::Http2;
use super::stream::Stream;
use super::{Address, ConnectionPolicy, Failure};

/// See the module.
#[derive(Default)]
pub(super) struct Shared {
    current: Mutex<Option<Member>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// A connection as one of its slots has it.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) link: Http2,
    pub(super) opened_ns: u64,
}

impl Shared {
    /// The connection, and whether it had to be opened for this.
    pub(super) async fn join(
        &self,
        to: &Address,
        policy: &ConnectionPolicy,
        now_ns: u64,
    ) -> Result<(Member, bool), Failure> {
        let mut current = self.current.lock().await;
        if let Some(member) = current.as_ref()
            && member.link.is_usable()
            && !policy.is_old(now_ns.saturating_sub(member.opened_ns))
        {
            return Ok((member.clone(), false));
        }
        *current = None;
        let link = Http2::on(Stream::open(to).await?).await?;
        let member = Member { link, opened_ns: now_ns };
        *current = Some(member.clone());
        Ok((member, true))
    }
}
