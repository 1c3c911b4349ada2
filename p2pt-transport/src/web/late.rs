//! Candidates of the other side that come after its description.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use send_wrapper::SendWrapper;
use wasm_bindgen_futures::JsFuture;
use web_sys::RtcIceCandidateInit;

use super::connection::{Connection, Phase};
use crate::{AddCandidateError, RemoteCandidates, candidates};

/// How many late candidates of the other side are taken, as many as its description may have.
const MAX_LATE_CANDIDATES: usize = 32;

/// Hands candidates to the browser, which takes them when it has the other side's description.
#[derive(Debug)]
pub(super) struct Late {
    connection: Weak<Connection>,
    /// Those that came before the description; nothing when it is there.
    early: RefCell<Option<Vec<String>>>,
    taken: Cell<usize>,
}

impl Late {
    pub(super) fn new(connection: &Rc<Connection>) -> Self {
        Self { connection: Rc::downgrade(connection), early: RefCell::new(Some(Vec::new())), taken: Cell::new(0) }
    }

    /// The description is there.
    pub(super) fn begin(&self) {
        for candidate in self.early.take().into_iter().flatten() {
            self.hand_over(&candidate);
        }
    }

    fn add(&self, candidate: &str) -> Result<(), AddCandidateError> {
        let Some(value) = candidates::read(candidate)? else { return Ok(()) };
        let connection = self.connection.upgrade().filter(|connection| connection.phase.get() != Phase::Closed);
        if connection.is_none() {
            return Err(AddCandidateError::Closed);
        }
        if self.taken.get() == MAX_LATE_CANDIDATES {
            return Err(AddCandidateError::TooMany { max: MAX_LATE_CANDIDATES });
        }
        self.taken.set(self.taken.get() + 1);
        let candidate = format!("candidate:{value}");
        if let Some(early) = &mut *self.early.borrow_mut() {
            early.push(candidate);
        } else {
            self.hand_over(&candidate);
        }
        Ok(())
    }

    fn hand_over(&self, candidate: &str) {
        let Some(connection) = self.connection.upgrade() else { return };
        let init = RtcIceCandidateInit::new(candidate);
        // The transport of the first section is that of all that are bundled.
        init.set_sdp_m_line_index(Some(0));
        let added = connection.pc.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init));
        let number = connection.number;
        p2pt_rt::spawn(async move {
            // One that the browser has no use for does no harm.
            if let Err(error) = JsFuture::from(added).await {
                tracing::debug!(connection = number, error = %p2pt_rt::error_text(&error), "late candidate not taken");
            }
        });
    }
}

/// The handle that an application gets.
#[derive(Debug)]
pub(super) struct LateHandle(pub(super) SendWrapper<Rc<Late>>);

impl RemoteCandidates for LateHandle {
    fn add(&self, candidate: &str) -> Result<(), AddCandidateError> {
        self.0.add(candidate)
    }
}
