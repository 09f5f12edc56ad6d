//! MuJoCo's library, loaded when the program runs: all that is unsafe in this crate.
//!
//! [`Library`] opens the file, checks its version and proves on a small model that fields lie where `layout.rs` says.
//! [`Model`] is a compiled body and [`Data`] one simulation of it.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::error::MujocoError;
use super::layout;
use super::probe;
use super::view::{Shape, View};

/// `mjModel`, of which only the fields in `layout.rs` are read.
#[repr(C)]
struct RawModel([u8; 0]);
/// `mjData`, as [`RawModel`].
#[repr(C)]
struct RawData([u8; 0]);
/// `mjSpec`, of which nothing is read.
#[repr(C)]
struct RawSpec([u8; 0]);
/// `mjLogMessage`, of which level and text are read.
#[repr(C)]
struct RawMessage([u8; 0]);

type LogHandler = unsafe extern "C" fn(*const RawMessage);

/// The functions that are called, with the signatures of mujoco.h.
struct Functions {
    version_string: unsafe extern "C" fn() -> *const c_char,
    version: unsafe extern "C" fn() -> c_int,
    set_log_handler: unsafe extern "C" fn(Option<LogHandler>) -> Option<LogHandler>,
    parse: unsafe extern "C" fn(*const c_char, *const c_void, *mut c_char, c_int) -> *mut RawSpec,
    compile: unsafe extern "C" fn(*mut RawSpec, *const c_void) -> *mut RawModel,
    spec_error: unsafe extern "C" fn(*mut RawSpec) -> *const c_char,
    delete_spec: unsafe extern "C" fn(*mut RawSpec),
    delete_model: unsafe extern "C" fn(*mut RawModel),
    make_data: unsafe extern "C" fn(*const RawModel) -> *mut RawData,
    delete_data: unsafe extern "C" fn(*mut RawData),
    reset_data: unsafe extern "C" fn(*const RawModel, *mut RawData),
    forward: unsafe extern "C" fn(*const RawModel, *mut RawData),
    step: unsafe extern "C" fn(*const RawModel, *mut RawData),
    external_forces: unsafe extern "C" fn(*const RawModel, *mut RawData),
    state_size: unsafe extern "C" fn(*const RawModel, c_int) -> c_int,
    get_state: unsafe extern "C" fn(*const RawModel, *const RawData, *mut f64, c_int),
    set_state: unsafe extern "C" fn(*const RawModel, *mut RawData, *const f64, c_int),
}

impl Functions {
    fn of(library: &libloading::Library) -> Result<Self, libloading::Error> {
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the field that takes it has the function's signature in mujoco.h of the version that `open`
                // requires before it calls anything but the two functions that give the version, and these have had
                // the same signature in all versions. `open` keeps the file loaded as long as there are pointers.
                unsafe { *library.get(concat!($name, "\0").as_bytes())? }
            };
        }
        Ok(Self {
            version_string: function!("mj_versionString"),
            version: function!("mj_version"),
            set_log_handler: function!("mju_setLogHandler"),
            parse: function!("mj_parseXMLString"),
            compile: function!("mj_compile"),
            spec_error: function!("mjs_getError"),
            delete_spec: function!("mj_deleteSpec"),
            delete_model: function!("mj_deleteModel"),
            make_data: function!("mj_makeData"),
            delete_data: function!("mj_deleteData"),
            reset_data: function!("mj_resetData"),
            forward: function!("mj_forward"),
            step: function!("mj_step"),
            external_forces: function!("mj_rnePostConstraint"),
            state_size: function!("mj_stateSize"),
            get_state: function!("mj_getState"),
            set_state: function!("mj_setState"),
        })
    }
}

/// MuJoCo, loaded from a file.
pub struct Library {
    functions: Functions,
    path: PathBuf,
    /// The models that are in use, by name.
    models: Mutex<BTreeMap<&'static str, Weak<Model>>>,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Library {
    /// Loads the first library that is at one of these places. A place is the file itself, or a folder that has it,
    /// directly or in its folder `mujoco`.
    ///
    /// Messages of MuJoCo are not printed from then on, and MUJOCO_LOG.TXT is not written. After an error of its own
    /// MuJoCo cannot go on, so the program is aborted with the message on standard error; no call in this crate is
    /// known to cause one, except when memory ends.
    ///
    /// # Errors
    ///
    /// No place has the library; it cannot be loaded; it is of another version, or was built in another way. A library
    /// that is found but does not fit is an error, even if a later place has another.
    pub fn open(places: &[PathBuf]) -> Result<Arc<Self>, MujocoError> {
        let path = places.iter().find_map(|place| super::places::library_at(place));
        let path = path.ok_or_else(|| MujocoError::NotFound { looked: places.to_vec() })?;
        let not_loaded =
            |e: libloading::Error| MujocoError::NotLoaded { path: path.clone(), reason: e.to_string() };
        // SAFETY: what a library runs when it is loaded is up to it; the user names this file, or the folder of a
        // package, as MuJoCo's, and MuJoCo only fills tables of its own.
        let file = unsafe { libloading::Library::new(&path) }.map_err(not_loaded)?;
        let functions = match Functions::of(&file) {
            Ok(functions) => functions,
            // An older version may lack a function: its version says more than the name of the function.
            Err(e) => return Err(older(&file, &path).unwrap_or_else(|| not_loaded(e))),
        };
        let library = Self { functions, path: path.clone(), models: Mutex::default() };
        library.check_version()?;
        // From here on the file stays loaded until the program ends, so the functions stay where they are.
        std::mem::forget(file);
        // SAFETY: the handler has the type that MuJoCo expects, is a function of this program, which is never unloaded,
        // and may be called from any thread.
        unsafe { (library.functions.set_log_handler)(Some(on_message)) };
        let library = Arc::new(library);
        probe::check(&library)?;
        Ok(library)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The compiled body of this name, which all environments that use it share.
    pub(super) fn model(self: &Arc<Self>, name: &'static str, xml: &str) -> Result<Arc<Model>, MujocoError> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = models.get(name).and_then(Weak::upgrade) {
            return Ok(model);
        }
        let model = Model::compile(self, name, xml)?;
        models.insert(name, Arc::downgrade(&model));
        Ok(model)
    }

    fn check_version(&self) -> Result<(), MujocoError> {
        // SAFETY: takes nothing and gives a number.
        if unsafe { (self.functions.version)() } == layout::VERSION && size_of::<usize>() == 8 {
            return Ok(());
        }
        // SAFETY: takes nothing and gives a constant string that ends with 0.
        let found = unsafe { CStr::from_ptr((self.functions.version_string)()) };
        Err(MujocoError::Version { path: self.path.clone(), found: found.to_string_lossy().into_owned() })
    }
}

/// The error for a library of another version, if it tells its version.
fn older(file: &libloading::Library, path: &Path) -> Option<MujocoError> {
    // SAFETY: the function has this signature in all versions of MuJoCo and gives a constant string that ends with 0.
    let found = unsafe {
        let version = file.get::<unsafe extern "C" fn() -> *const c_char>(b"mj_versionString\0").ok()?;
        CStr::from_ptr(version())
    };
    let found = found.to_string_lossy().into_owned();
    (found != super::places::VERSION).then(|| MujocoError::Version { path: path.to_owned(), found })
}

/// Hears what MuJoCo has to say. Warnings are left out, as they are counted in `mjData`. An error is a call that MuJoCo
/// cannot finish, so this function must not return; its panic does not unwind but aborts, as the function is `extern "C"`.
unsafe extern "C" fn on_message(message: *const RawMessage) {
    let message = message.cast::<u8>();
    // SAFETY: MuJoCo passes a message, which lives during the call, and its level is an `int` at this place.
    let level = unsafe { message.add(layout::LOG_LEVEL).cast::<c_int>().read() };
    if level >= layout::LOG_ERROR {
        // SAFETY: as above; the text is an array of characters in the message that ends with 0.
        let text = unsafe { CStr::from_ptr(message.add(layout::LOG_SUBJECT).cast()) };
        panic!("MuJoCo cannot go on: {}", text.to_string_lossy());
    }
}

/// A compiled body. It does not change, so simulations on several threads share it.
pub(super) struct Model {
    raw: NonNull<RawModel>,
    library: Arc<Library>,
}

// SAFETY: nothing writes to the model between `compile` and `drop`: all functions take it as const, and none of them keeps
// state outside of `mjData`.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: it came from `mj_compile`, and each `Data` of it holds it by an `Arc`, so none is left.
        unsafe { (self.library.functions.delete_model)(self.raw.as_ptr()) };
    }
}

impl Model {
    /// Compiles MJCF.
    pub(super) fn compile(library: &Arc<Library>, body: &str, xml: &str) -> Result<Arc<Self>, MujocoError> {
        let refused = |reason: &CStr| MujocoError::Body {
            body: body.to_owned(),
            reason: reason.to_string_lossy().into_owned(),
        };
        let xml = CString::new(xml).expect("MJCF has no character 0");
        let mut reason = [0 as c_char; 1024];
        // SAFETY: the text ends with 0, no virtual files are passed, and the buffer has the length that is passed.
        let spec = unsafe {
            (library.functions.parse)(
                xml.as_ptr(),
                std::ptr::null(),
                reason.as_mut_ptr(),
                reason.len() as c_int,
            )
        };
        if spec.is_null() {
            // SAFETY: MuJoCo ends what it writes with 0, and the buffer was all 0.
            return Err(refused(unsafe { CStr::from_ptr(reason.as_ptr()) }));
        }
        // SAFETY: `spec` is what `mj_parseXMLString` returned.
        let raw = unsafe { (library.functions.compile)(spec, std::ptr::null()) };
        let model = match NonNull::new(raw) {
            Some(raw) => Ok(Arc::new(Self { raw, library: library.clone() })),
            // SAFETY: as above; the text belongs to `spec` and ends with 0.
            None => Err(refused(unsafe { CStr::from_ptr((library.functions.spec_error)(spec)) })),
        };
        // SAFETY: as above, and it is not used any more; a model does not refer to its spec.
        unsafe { (library.functions.delete_spec)(spec) };
        model
    }

    fn field<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: `layout.rs` has the offsets of this version, and each is asked for with its type there; `probe` has
        // compared what is read to known values.
        unsafe { self.raw.as_ptr().cast::<u8>().add(offset).cast::<T>().read() }
    }

    fn size(&self, offset: usize) -> usize {
        self.field::<i64>(offset) as usize
    }

    /// Number of positions.
    pub(super) fn nq(&self) -> usize {
        self.size(layout::NQ)
    }

    /// Number of velocities.
    pub(super) fn nv(&self) -> usize {
        self.size(layout::NV)
    }

    /// Number of controls.
    pub(super) fn nu(&self) -> usize {
        self.size(layout::NU)
    }

    /// Number of bodies, the world among them.
    pub(super) fn nbody(&self) -> usize {
        self.size(layout::NBODY)
    }

    /// Seconds of one step.
    pub(super) fn timestep(&self) -> f64 {
        self.field(layout::TIMESTEP)
    }

    /// The initial positions.
    pub(super) fn initial(&self) -> &[f64] {
        self.array(layout::QPOS0, self.nq())
    }

    /// The masses of bodies, in kg.
    pub(super) fn masses(&self) -> &[f64] {
        self.array(layout::BODY_MASS, self.nbody())
    }

    /// The least and the greatest value of each control, one pair after the other.
    pub(super) fn control_ranges(&self) -> &[f64] {
        self.array(layout::CTRLRANGE, 2 * self.nu())
    }

    fn array<T: Copy>(&self, offset: usize, len: usize) -> &[T] {
        let (buffer, bytes) = (self.field::<usize>(layout::MODEL_BUFFER), self.size(layout::MODEL_NBUFFER));
        let pointer: *const T = self.field(offset);
        if len == 0 || !within(pointer, len, buffer, bytes) {
            return &[];
        }
        // SAFETY: the array lies in the model's buffer, as was just checked, has this type and length in mjmodel.h, and
        // nothing writes to a model.
        unsafe { std::slice::from_raw_parts(pointer, len) }
    }
}

/// Whether an array lies in a buffer. What fails here is a library with another layout, which `probe` then refuses.
fn within<T>(pointer: *const T, len: usize, buffer: usize, bytes: usize) -> bool {
    let start = pointer as usize;
    pointer.is_aligned() && start >= buffer && start + len * size_of::<T>() <= buffer + bytes
}

/// One simulation of a body.
pub(super) struct Data {
    raw: NonNull<RawData>,
    model: Arc<Model>,
}

// SAFETY: all of `mjData` is memory that only this value refers to; MuJoCo ties none of it to a thread.
unsafe impl Send for Data {}

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: it came from `mj_makeData`, and no slice of it outlives this value.
        unsafe { (self.functions().delete_data)(self.raw.as_ptr()) };
    }
}

impl Data {
    /// Starts a simulation at the initial positions.
    pub(super) fn new(model: &Arc<Model>) -> Result<Self, MujocoError> {
        // SAFETY: the model is one that MuJoCo compiled.
        let raw = unsafe { (model.library.functions.make_data)(model.raw.as_ptr()) };
        let raw = NonNull::new(raw).ok_or_else(|| MujocoError::Body {
            body: "a simulation".to_owned(),
            reason: "there is not enough memory".to_owned(),
        })?;
        Ok(Self { raw, model: model.clone() })
    }

    /// The body.
    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn functions(&self) -> &Functions {
        &self.model.library.functions
    }

    /// Calls a function that computes with the data.
    fn call(&mut self, function: unsafe extern "C" fn(*const RawModel, *mut RawData)) {
        // SAFETY: data and model belong together, and `&mut self` says that nothing else uses the data.
        unsafe { function(self.model.raw.as_ptr(), self.raw.as_ptr()) };
    }

    /// Goes back to the initial positions, at rest and without forces.
    pub(super) fn reset(&mut self) {
        self.call(self.functions().reset_data);
    }

    /// Computes all that follows from positions, velocities and controls.
    pub(super) fn forward(&mut self) {
        self.call(self.functions().forward);
    }

    /// Simulates one step.
    pub(super) fn step(&mut self) {
        self.call(self.functions().step);
    }

    /// Computes the external forces on each body.
    pub(super) fn external_forces(&mut self) {
        self.call(self.functions().external_forces);
    }

    /// Reads parts of the state, as bits of `mjtState`.
    ///
    /// # Panics
    ///
    /// When `state` has not the size of these parts.
    pub(super) fn read_state(&self, parts: c_int, state: &mut [f64]) {
        self.check_size(parts, state);
        // SAFETY: data and model belong together, and `mj_getState` writes as many numbers as `mj_stateSize` says, which
        // was just compared.
        unsafe {
            (self.functions().get_state)(
                self.model.raw.as_ptr(),
                self.raw.as_ptr(),
                state.as_mut_ptr(),
                parts,
            );
        }
    }

    /// Writes parts of the state.
    ///
    /// # Panics
    ///
    /// When `state` has not the size of these parts.
    pub(super) fn set_state(&mut self, parts: c_int, state: &[f64]) {
        self.check_size(parts, state);
        // SAFETY: data and model belong together, and `mj_setState` reads as many numbers as `mj_stateSize` says, which
        // was just compared.
        unsafe {
            (self.functions().set_state)(self.model.raw.as_ptr(), self.raw.as_ptr(), state.as_ptr(), parts);
        }
    }

    fn check_size(&self, parts: c_int, state: &[f64]) {
        let size = self.state_size(parts);
        assert!(state.len() == size, "parts {parts:#x} of a state are {size} numbers, not {}", state.len());
    }

    /// How many numbers parts of the state are.
    pub(super) fn state_size(&self, parts: c_int) -> usize {
        // SAFETY: reads sizes of the model only.
        let size = unsafe { (self.functions().state_size)(self.model.raw.as_ptr(), parts) };
        usize::try_from(size).expect("sizes are not negative")
    }

    /// How often positions, velocities or accelerations were bad since the last reset, and were reset by MuJoCo.
    pub(super) fn bad(&self) -> usize {
        let counter = |kind| layout::WARNING + kind * layout::WARNING_SIZE + layout::WARNING_NUMBER;
        layout::BAD.iter().map(|&kind| self.field::<c_int>(counter(kind)) as usize).sum()
    }

    /// What the simulation computed last.
    pub(super) fn view(&self) -> View<'_> {
        let model = &*self.model;
        let (nv, nbody) = (model.nv(), model.nbody());
        View {
            qpos: self.array(layout::QPOS, model.nq()),
            qvel: self.array(layout::QVEL, nv),
            body_mass: model.masses(),
            xpos: self.array(layout::XPOS, 3 * nbody),
            xipos: self.array(layout::XIPOS, 3 * nbody),
            site_xpos: self.array(layout::SITE_XPOS, 3 * model.size(layout::NSITE)),
            cinert: self.array(layout::CINERT, 10 * nbody),
            cvel: self.array(layout::CVEL, 6 * nbody),
            qfrc_actuator: self.array(layout::QFRC_ACTUATOR, nv),
            qfrc_constraint: self.array(layout::QFRC_CONSTRAINT, nv),
            cfrc_ext: self.array(layout::CFRC_EXT, 6 * nbody),
        }
    }

    /// The shapes of all geoms where they are now, in MuJoCo's order. Planes are left out.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let count = self.model.size(layout::NGEOM);
        let kinds: &[c_int] = self.model.array(layout::GEOM_TYPE, count);
        let sizes: &[f64] = self.model.array(layout::GEOM_SIZE, 3 * count);
        let centres: &[f64] = self.array(layout::GEOM_XPOS, 3 * count);
        let axes: &[f64] = self.array(layout::GEOM_XMAT, 9 * count);
        let [plane, sphere, ..] = layout::GEOMS;
        let moving = (0..count).filter(|&geom| kinds[geom] != plane);
        let shape = |geom: usize| {
            let half = if kinds[geom] == sphere { 0.0 } else { sizes[3 * geom + 1] };
            // The axis of a capsule is the third column of its rotation.
            let end = |sign: f64| {
                [0, 1, 2].map(|i| centres[3 * geom + i] + sign * half * axes[9 * geom + 3 * i + 2])
            };
            Shape { ends: [end(-1.0), end(1.0)], radius: sizes[3 * geom] }
        };
        moving.map(shape).collect()
    }

    fn field<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: as `Model::field`.
        unsafe { self.raw.as_ptr().cast::<u8>().add(offset).cast::<T>().read() }
    }

    fn array(&self, offset: usize, len: usize) -> &[f64] {
        let buffer = self.field::<usize>(layout::BUFFER);
        let bytes = self.field::<i64>(layout::NBUFFER) as usize;
        let pointer: *const f64 = self.field(offset);
        if len == 0 || !within(pointer, len, buffer, bytes) {
            return &[];
        }
        // SAFETY: the array lies in the data's buffer, as was just checked, has this type and length in mjdata.h, was set
        // to numbers when the data was made, and is written only by functions that take `&mut self`.
        unsafe { std::slice::from_raw_parts(pointer, len) }
    }
}
