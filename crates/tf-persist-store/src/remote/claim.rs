//! Claims: who writes or deletes the files of a number that is no version yet.
//!
//! A claim has the id of an attempt. Whoever pushes the same manifest joins the attempt, and keeps its id. Whoever
//! deletes the files of an abandoned attempt replaces its claim first. That ends the attempt: its writers renew their
//! claim before they make a version of the files, and find another id there.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::error::RemoteErrorKind;
use super::model::RemoteModel;
use super::objects::{Tag, Written, read};
use crate::error::{Result, StoreError};
use crate::event::whoami;
use crate::manifest::hex;

/// The most bytes of a claim.
const MAX_CLAIM: u64 = 1 << 20;

/// A claim of this age without a version is that of a process that died.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A push that takes longer renews its claim.
const RENEWED: Duration = Duration::from_secs(3600);

/// How often a claim is written anew when others change it, too.
const TRIES: usize = 8;

/// The contents of `N.claim`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claim {
    by: String,
    at: Timestamp,
    /// The SHA-256 of the manifest: whoever pushes the same may go on. Empty while the files of a dead process are
    /// deleted, which nobody joins.
    manifest: String,
    /// The attempt. Claims of earlier versions of this library lack it.
    #[serde(default)]
    id: String,
}

impl Claim {
    fn new(manifest: &str) -> Result<Self> {
        let mut id = [0; 16];
        let drawn = SystemRandom::new().fill(&mut id);
        drawn.map_err(|_| StoreError::io("read", "the system's random numbers")(std::io::ErrorKind::Other.into()))?;
        Ok(Self { by: whoami(), at: Timestamp::now(), manifest: manifest.to_owned(), id: hex(&id) })
    }

    /// Whether its process must have died.
    pub(crate) fn is_abandoned(&self) -> bool {
        age(self.at) > ABANDONED
    }
}

fn age(at: Timestamp) -> Duration {
    Timestamp::now().duration_since(at).unsigned_abs()
}

/// A claim that this process has.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    model: RemoteModel<'a>,
    number: u64,
    claim: Claim,
    renewed: Mutex<Timestamp>,
}

impl<'a> Held<'a> {
    /// Claims a number for a manifest, or joins those that push the same. The files of a dead process are deleted.
    ///
    /// # Errors
    /// If another process writes other files under the number.
    pub(crate) fn take(model: RemoteModel<'a>, number: u64, manifest: &str) -> Result<Self> {
        let (mut held, takes_over) = Self::acquire(model, number, Claim::new(manifest)?)?;
        if takes_over {
            // They are not of this version, unless the process died after it had committed.
            if model.manifest(number)?.is_none() {
                model.delete_files(number)?;
            }
            manifest.clone_into(&mut held.claim.manifest);
            held.renew()?;
        }
        Ok(held)
    }

    /// Claims a number in order to delete its files; `None` if another process writes them.
    pub(crate) fn seize(model: RemoteModel<'a>, number: u64) -> Result<Option<Self>> {
        match Self::acquire(model, number, Claim::new("")?) {
            Ok((held, _)) => Ok(Some(held)),
            Err(StoreError::Remote(error)) if matches!(error.kind(), RemoteErrorKind::Claimed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a claim. Also returns whether it replaces that of a dead process; then nobody can join it as yet.
    fn acquire(model: RemoteModel<'a>, number: u64, own: Claim) -> Result<(Self, bool)> {
        let held = |claim: Claim| Self { model, number, renewed: Mutex::new(claim.at), claim };
        for _ in 0..TRIES {
            let key = model.claim_key(number);
            if model.objects.create(&key, model.encode_claim(number, &own)?)? == Written::Yes {
                return Ok((held(own), false));
            }
            let Some((found, tag)) = model.claim(number)? else { continue };
            let is_own = found.as_ref().is_some_and(|found| found.id == own.id);
            let (claim, takes_over) = match found {
                Some(found) if !own.manifest.is_empty() && found.manifest == own.manifest => {
                    let id = if found.id.is_empty() { own.id.clone() } else { found.id };
                    (Claim { id, ..own.clone() }, false)
                }
                // What is no claim is treated as that of a process that died.
                Some(found) if !found.is_abandoned() && !is_own => return Err(model.claimed(number, found)),
                _ => (Claim { manifest: String::new(), ..own.clone() }, true),
            };
            if model.objects.replace(&key, model.encode_claim(number, &claim)?, &tag)? == Written::Yes {
                return Ok((held(claim), takes_over));
            }
        }
        Err(model.objects.refuse(&model.claim_key(number), RemoteErrorKind::Contended))
    }

    /// The id of the attempt.
    pub(crate) fn id(&self) -> &str {
        &self.claim.id
    }

    /// Makes the claim a new one, so that for a day nobody takes the files for those of a dead process.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Superseded`] if the attempt is over: the files are a version, or were deleted.
    pub(crate) fn renew(&self) -> Result<()> {
        self.renew_after(Duration::ZERO)
    }

    /// Renews the claim if that was an hour ago.
    ///
    /// # Errors
    /// As [`Held::renew`].
    pub(crate) fn keep(&self) -> Result<()> {
        self.renew_after(RENEWED)
    }

    fn renew_after(&self, least: Duration) -> Result<()> {
        // Threads that send at the same time wait for the one that renews.
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if age(*renewed) < least {
            return Ok(());
        }
        let key = self.model.claim_key(self.number);
        for _ in 0..TRIES {
            let Some((Some(found), tag)) = self.model.claim(self.number)? else { return Err(self.superseded()) };
            if found.id != self.claim.id {
                return Err(self.superseded());
            }
            let claim = Claim { at: Timestamp::now(), ..self.claim.clone() };
            let bytes = self.model.encode_claim(self.number, &claim)?;
            if self.model.objects.replace(&key, bytes, &tag)? == Written::Yes {
                *renewed = claim.at;
                return Ok(());
            }
        }
        Err(self.model.objects.refuse(&key, RemoteErrorKind::Contended))
    }

    fn superseded(&self) -> StoreError {
        let place = self.model.file_key(self.number, "");
        self.model.objects.refuse(place.trim_end_matches('/'), RemoteErrorKind::Superseded)
    }

    /// Deletes the claim, if it is still this one.
    pub(crate) fn release(&self) -> Result<()> {
        let found = self.model.claim(self.number)?.and_then(|(found, _)| found);
        match found.is_some_and(|found| found.id == self.claim.id) {
            true => self.model.objects.delete(&self.model.claim_key(self.number)),
            false => Ok(()),
        }
    }
}

impl RemoteModel<'_> {
    /// The claim of a number, and its state. The inner `None` is an object that is not a claim.
    pub(crate) fn claim(&self, number: u64) -> Result<Option<(Option<Claim>, Tag)>> {
        let found = read(self.objects, &self.claim_key(number), MAX_CLAIM)?;
        Ok(found.map(|(bytes, tag)| (serde_json::from_slice(&bytes).ok(), tag)))
    }

    fn encode_claim(&self, number: u64, claim: &Claim) -> Result<Bytes> {
        let bytes = serde_json::to_vec(claim);
        let bytes = bytes.map_err(|error| StoreError::io("write", self.claim_key(number))(error.into()))?;
        Ok(bytes.into())
    }

    fn claimed(&self, number: u64, found: Claim) -> StoreError {
        let kind = RemoteErrorKind::Claimed { by: found.by, at: found.at.to_string() };
        self.objects.refuse(self.file_key(number, "").trim_end_matches('/'), kind)
    }
}
