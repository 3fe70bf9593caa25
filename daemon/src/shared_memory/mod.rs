//! Triton's system shared memory: clients register regions by name, and requests say that a tensor is in one instead
//! of sending it. Off unless the configuration allows it, because whoever reaches the daemon could otherwise have it
//! read and write objects of other processes. What holds the memory is in `object`.

mod object;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proofload_wire::shared::Place;

use self::object::Object;
use crate::engine::ServeError;

/// Regions at a time; each is an open file.
const MAX_REGIONS: usize = 256;
/// Longest name of a region, in bytes.
const MAX_NAME_BYTES: usize = 1024;
/// Objects of Triton's own backends begin so; no client may have them.
const RESERVED: &str = "triton_python_backend_shm_region_";

const DISABLED: &str = "Client shared memory is not allowed; start the server with --allow-client-shm";

/// A region as its client registered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its name, by which requests mean it.
    pub name: String,
    /// The object that holds it, such as `/frames`.
    pub key: String,
    /// Where it begins in the object, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub byte_size: u64,
}

/// A registered region. It stays usable for as long as somebody has it, registered or not.
#[derive(Debug)]
pub struct Region {
    about: Registration,
    object: Object,
}

impl Region {
    /// A copy of a piece of it.
    ///
    /// # Errors
    /// When the piece is not within it, or the client has made the object shorter since.
    pub fn read(&self, place: &Place) -> Result<Vec<u8>, ServeError> {
        let (at, bytes) = self.locate(place.offset, place.byte_size)?;
        self.object.read(at, bytes).map_err(|error| self.failed("read", &error))
    }

    /// Writes to the beginning of a piece of it.
    ///
    /// # Errors
    /// When the piece is not within it, or the client has made the object shorter since.
    pub fn write(&self, place: &Place, data: &[u8]) -> Result<(), ServeError> {
        let (at, _) = self.locate(place.offset, data.len() as u64)?;
        self.object.write(at, data).map_err(|error| self.failed("written", &error))
    }

    /// Where in the object a piece is, and how long.
    fn locate(&self, offset: u64, byte_size: u64) -> Result<(u64, usize), ServeError> {
        let name = &self.about.name;
        if offset >= self.about.byte_size {
            return Err(invalid(format!("Invalid offset for shared memory region: '{name}'")));
        }
        let end = offset.checked_add(byte_size).filter(|end| *end <= self.about.byte_size);
        let bytes = usize::try_from(byte_size).ok();
        match (end, bytes) {
            // The sum is within the region, and the region was within an object.
            (Some(_), Some(bytes)) => Ok((self.about.offset + offset, bytes)),
            _ => Err(invalid(format!("Invalid offset + byte size for shared memory region: '{name}'"))),
        }
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> ServeError {
        let Registration { name, key, .. } = &self.about;
        invalid(format!("shared memory region '{name}' cannot be {what}: '{key}' is not as long as it was: {error}"))
    }
}

/// The regions that are registered.
#[derive(Debug)]
pub struct SharedMemory {
    allowed: bool,
    regions: Mutex<BTreeMap<String, Arc<Region>>>,
}

impl SharedMemory {
    /// No regions yet, and none ever unless they are allowed.
    pub fn new(allowed: bool) -> Arc<Self> {
        Arc::new(Self { allowed, regions: Mutex::default() })
    }

    /// Whether clients may register regions.
    pub fn allowed(&self) -> bool {
        self.allowed
    }

    /// Registers a region.
    ///
    /// # Errors
    /// When that is not allowed, the name is taken, or there is no such object of that length.
    pub fn register(&self, about: Registration) -> Result<(), ServeError> {
        self.check_allowed()?;
        let region = open(about)?;
        let mut regions = self.lock();
        let name = &region.about.name;
        if regions.contains_key(name) {
            return Err(ServeError::AlreadyExists(format!("shared memory region '{name}' already in manager")));
        }
        if regions.len() >= MAX_REGIONS {
            let message = format!("{MAX_REGIONS} shared memory regions are registered; unregister one");
            return Err(ServeError::Unavailable { message, retry_after: None });
        }
        regions.insert(name.clone(), Arc::new(region));
        Ok(())
    }

    /// Forgets a region, or all of them. Requests that have one already keep it. To forget one that is not there is
    /// no error, as in Triton.
    ///
    /// # Errors
    /// When shared memory is not allowed.
    pub fn unregister(&self, name: Option<&str>) -> Result<(), ServeError> {
        self.check_allowed()?;
        match name {
            Some(name) => drop(self.lock().remove(name)),
            None => self.lock().clear(),
        }
        Ok(())
    }

    /// What is registered: one region, or all of them in order.
    ///
    /// # Errors
    /// When there is no such region.
    pub fn status(&self, name: Option<&str>) -> Result<Vec<Registration>, ServeError> {
        let regions = self.lock();
        let Some(name) = name else { return Ok(regions.values().map(|region| region.about.clone()).collect()) };
        let missing = || ServeError::NotFound(format!("Unable to find system shared memory region: '{name}'"));
        Ok(vec![regions.get(name).ok_or_else(missing)?.about.clone()])
    }

    /// The region of that name.
    ///
    /// # Errors
    /// When there is none, or shared memory is not allowed.
    pub fn region(&self, name: &str) -> Result<Arc<Region>, ServeError> {
        self.check_allowed()?;
        let missing = || ServeError::NotFound(format!("Unable to find shared memory region: '{name}'"));
        self.lock().get(name).cloned().ok_or_else(missing)
    }

    fn check_allowed(&self) -> Result<(), ServeError> {
        if self.allowed { Ok(()) } else { Err(ServeError::Unsupported(DISABLED.to_owned())) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Region>>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(about: Registration) -> Result<Region, ServeError> {
    let Registration { name, key, offset, byte_size } = &about;
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(invalid(format!("the name of a shared memory region must have 1 to {MAX_NAME_BYTES} bytes")));
    }
    let Some(file) = object::name(key).filter(|file| !file.starts_with(RESERVED)) else {
        return Err(invalid(format!(
            "cannot register shared memory region '{name}': '{key}' is no key; expected one name, such as /frames"
        )));
    };
    // Triton calls these internal errors, which a wrong request is not.
    let object = Object::open(file).map_err(|_| invalid(format!("Unable to open shared memory region: '{key}'")))?;
    let length = object.len().map_err(|error| invalid(format!("Invalid shared memory region: '{key}': {error}")))?;
    let end = offset.checked_add(*byte_size);
    if *byte_size == 0 || end.is_none_or(|end| end > length) {
        return Err(invalid(format!(
            "failed to register shared memory region '{name}': invalid args: {byte_size} bytes from {offset} are not \
             within the {length} bytes of '{key}'"
        )));
    }
    Ok(Region { about, object })
}

fn invalid(message: String) -> ServeError {
    ServeError::InvalidArgument(message)
}

#[cfg(test)]
mod tests;
