//! A model: its file, what was chosen for it, and executables of its entry points.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use brolga_frontend::{Instance, Settings, SymbolicType};
use brolga_ir::Graph;
use brolga_models::catalogue;
use brolga_runtime::{
    Content, DType, Evaluation, Executable, MAX_TEXT, Manifest, Samples, Shown, SlotKind, State, Tensor,
    Threads, read_regular,
};

use crate::batches::{Batched, Outputs};
use crate::compile::{CompileOptions, compile};
use crate::error::{Error, Result};
use crate::tune::{Cache, Observer, Tuned, tune};

/// Executables kept for further use; the one that was used longest ago goes first.
const KEPT: usize = 32;

/// A model with its variant, parameters and sizes chosen. Its entry points are compiled when they are asked for.
pub struct Model {
    name: String,
    parsed: brolga_frontend::Model,
    settings: Settings,
    instance: Instance,
    options: CompileOptions,
    /// What the outputs of entries are of the samples, by their names; found when it is needed first.
    outputs: Mutex<HashMap<String, Arc<Outputs>>>,
    /// Whether the state of single samples is the same; found when it is needed first.
    state_of_one: OnceLock<bool>,
    files: Vec<PathBuf>,
    compiled: Mutex<Vec<(Key, Arc<Executable>)>>,
}

/// The graph of an entry point.
fn built<'i>(instance: &'i Instance, entry: &str) -> Result<&'i Graph> {
    match (instance.graph(entry), instance.refused(entry)) {
        (Some(graph), _) => Ok(graph),
        (None, Some(why)) => Err(why.clone().into()),
        (None, None) => Err(Error::unknown("entry point", entry, instance.entries())),
    }
}

/// The graph of an entry point that can be run.
fn runnable<'i>(instance: &'i Instance, entry: &str) -> Result<&'i Graph> {
    match instance.refused(entry) {
        Some(why) => Err(why.clone().into()),
        None => built(instance, entry),
    }
}

/// What an executable was compiled from: entry point and sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    entry: String,
    dims: Vec<(String, usize)>,
}

impl Model {
    /// Loads a model: a path of a RON file (`nets/mine.ron`, or `nets/mine.ron:variant`), or the name of a model
    /// that comes along (`lenet5`, `resnet20`; see [`names`]). A name without a slash or `.ron` is that of a file only where
    /// no model of the name comes along.
    ///
    /// # Errors
    /// An unknown name, a file that cannot be read, and all mistakes in the model, each at its place.
    pub fn load(name: &str, settings: &Settings) -> Result<Model> {
        let mut settings = settings.clone();
        let (parsed, files) = parse(name, &mut settings)?;
        Ok(Model { files, ..Model::new(short_name(name), parsed, settings)? })
    }

    /// A model from RON text; `name` is shown in messages.
    ///
    /// # Errors
    /// All mistakes in the text and the settings, each with its place.
    pub fn from_text(name: &str, text: &str, settings: &Settings) -> Result<Model> {
        let parsed = brolga_frontend::Model::parse(name, text, &resolve)?;
        Model::new(short_name(name), parsed, settings.clone())
    }

    fn new(name: String, parsed: brolga_frontend::Model, settings: Settings) -> Result<Model> {
        let instance = parsed.instantiate(&settings)?;
        let options = CompileOptions::default();
        Ok(Model {
            name,
            parsed,
            settings,
            instance,
            options,
            outputs: Mutex::default(),
            state_of_one: OnceLock::new(),
            files: Vec::new(),
            compiled: Mutex::default(),
        })
    }

    /// The same model, compiled with these options.
    pub fn with_options(mut self, options: CompileOptions) -> Model {
        self.options = options;
        self.compiled = Mutex::default();
        self
    }

    /// The same model for these sizes, such as `batch`: its state and all its entry points have them. Those that do not take
    /// them are refused when they are asked for; see [`Instance::refused`].
    ///
    /// # Errors
    /// Mistakes that all entry points have for these sizes.
    pub fn with_dims(mut self, dims: &[(&str, usize)]) -> Result<Model> {
        let dims = self.dims_with(dims);
        if dims != self.instance.dims() {
            self.settings.dims = dims;
            self.instance = self.parsed.instantiate_beside(&self.settings, &self.instance)?;
            self.outputs = Mutex::default();
            self.state_of_one = OnceLock::new();
            self.compiled = Mutex::default();
        }
        Ok(self)
    }

    /// Its name: that of the variant, or of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model file, as read.
    pub fn parsed(&self) -> &brolga_frontend::Model {
        &self.parsed
    }

    /// The files that it was read from: its own, and those that it imports; none of those that come along.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The names of the classes, in the order of their numbers: those that a state knows, or the model's own; empty if there
    /// are none.
    pub fn classes(&self, state: &State) -> Vec<String> {
        match &state.record().classes[..] {
            [] => self.instance.declared().classes.clone(),
            known => known.to_vec(),
        }
    }

    /// The graphs of all entry points with the sizes chosen, the state, and the table of layers.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The types of the layers' results, in the order of the instance's table, with sizes as symbols:
    /// `f32[batch, 10]`.
    pub fn symbolic_outputs(&self) -> Vec<SymbolicType> {
        self.parsed.symbolic_outputs(&self.settings, &self.instance)
    }

    /// How entry points are compiled.
    pub fn options(&self) -> &CompileOptions {
        &self.options
    }

    /// The graph of an entry point with the sizes chosen.
    ///
    /// # Errors
    /// There is no entry point of this name, or it cannot be run for these sizes; see [`Instance::refused`].
    pub fn graph(&self, entry: &str) -> Result<&Graph> {
        runnable(&self.instance, entry)
    }

    /// The graph of an entry point with the sizes chosen, also of one that cannot be run for them: what it takes.
    ///
    /// # Errors
    /// There is no entry point of this name, or it cannot even be built for them.
    pub fn built(&self, entry: &str) -> Result<&Graph> {
        built(&self.instance, entry)
    }

    /// Finds the fastest tunings for the products of an entry point at the sizes chosen and `dims`, see
    /// [`tune`](fn@crate::tune::tune); what is compiled from now on is tuned so.
    ///
    /// # Errors
    /// What compiling and running the entry point with random inputs may give.
    pub fn tune(
        &mut self,
        entry: &str,
        dims: &[(&str, usize)],
        threads: &Threads,
        cache: &mut Cache,
        observe: &mut Observer<'_>,
    ) -> Result<Tuned> {
        let mut state = self.initial_state(0)?;
        let dims = self.dims_with(dims);
        let graph = |graph: &Graph| tune(graph, &self.options, threads, &mut state, cache, observe);
        let tuned = self.with_graph(entry, &dims, graph)?;
        self.options.passes.tunings = tuned.tunings.clone();
        self.compiled = Mutex::default();
        Ok(tuned)
    }

    /// An entry point, compiled for the sizes chosen.
    ///
    /// # Errors
    /// There is no entry point of this name; those of [`Compiler`](crate::Compiler).
    pub fn compile(&self, entry: &str) -> Result<Arc<Executable>> {
        self.compile_for(entry, &[])
    }

    /// An entry point, compiled for other sizes, such as `[("batch", 1)]`. Executables are kept.
    ///
    /// # Errors
    /// Those of [`compile`](Model::compile), and sizes that the model does not take.
    pub fn compile_for(&self, entry: &str, dims: &[(&str, usize)]) -> Result<Arc<Executable>> {
        let key = Key { entry: entry.to_owned(), dims: self.dims_with(dims) };
        if let Some(executable) = self.kept(&key) {
            return Ok(executable);
        }
        let options = self.options_for(entry);
        let executable = self.with_graph(entry, &key.dims, |graph| compile(graph, &options))?;
        let (inputs, outputs) = self.samples(entry, &key.dims, executable.manifest());
        let executable = Arc::new(executable.with_samples(&inputs, &outputs)?);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() == KEPT {
            compiled.remove(0);
        }
        compiled.push((key, executable.clone()));
        Ok(executable)
    }

    /// Whether the state has the same shapes where the batch is one sample, so that entry points for both can share it. Shapes of
    /// parameters may depend on the batch. A model that does not take single samples says so when it is compiled for them.
    pub fn shares_state_with_single(&self) -> bool {
        *self.state_of_one.get_or_init(|| {
            let settings = Settings { dims: self.dims_with(&[("batch", 1)]), ..self.settings.clone() };
            let types = |instance: &Instance| -> Vec<_> {
                instance.state().iter().map(|slot| (slot.name.clone(), slot.ty.clone())).collect()
            };
            settings.dims == self.instance.dims()
                || (self.parsed.instantiate_beside(&settings, &self.instance))
                    .map_or(true, |single| types(&single) == types(&self.instance))
        })
    }

    /// What makes metrics of an entry's totals, compiled for the sizes chosen but for `dims`; nothing where it has none.
    ///
    /// # Errors
    /// What compiling may give.
    pub fn formulas(&self, entry: &str, dims: &[(&str, usize)]) -> Result<Option<Arc<Executable>>> {
        let name = format!("{entry}.metrics");
        self.instance.graph(&name).map(|_| self.compile_for(&name, dims)).transpose()
    }

    /// An entry, compiled to be run over so many samples by [`evaluate_with`](brolga_runtime::evaluate_with): for the
    /// batch chosen, and for the single samples that whole batches leave. Nothing where there are no samples. An entry
    /// without the size `batch` is compiled as it is, and its samples must fill whole batches.
    ///
    /// # Errors
    /// An unknown entry, and what compiling may give.
    pub fn evaluation(&self, entry: &str, samples: usize) -> Result<Option<Evaluation>> {
        let formulas = self.formulas(entry, &[])?;
        let batch = self.instance.dims().iter().find(|(name, _)| name == "batch").map(|(_, size)| *size);
        let (full, single) = match batch {
            _ if samples == 0 => return Ok(None),
            None => (self.compile(entry)?, None),
            Some(batch) => {
                // A sample has the same bits alone and in a batch, so it does not matter which of the two runs it.
                let shares = self.shares_state_with_single();
                let single = || shares.then(|| self.compile_for(entry, &[("batch", 1)])).transpose();
                let whole = batch > 0 && samples >= batch;
                let left = if whole { samples % batch } else { samples };
                match (whole, left) {
                    (true, 0) => (self.compile(entry)?, None),
                    (true, _) => (self.compile(entry)?, single()?),
                    (false, _) => match single()? {
                        Some(single) => (single, None),
                        None => (self.compile(entry)?, None),
                    },
                }
            }
        };
        Ok(Some(Evaluation { full, single, formulas }))
    }

    /// How an entry point is compiled.
    pub(crate) fn options_for(&self, entry: &str) -> CompileOptions {
        let mut options = self.options.clone();
        if entry == "init" {
            // The limit is for what is run over and over; drawing the weights happens once.
            options.passes.memory_limit = None;
        }
        options
    }

    /// The sizes chosen, but for these.
    pub(crate) fn dims_with(&self, dims: &[(&str, usize)]) -> Vec<(String, usize)> {
        let mut all = self.instance.dims().to_vec();
        for &(name, size) in dims {
            match all.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1 = size,
                None => all.push((name.to_owned(), size)),
            }
        }
        all
    }

    /// Does something with the graph of an entry point with these sizes.
    pub(crate) fn with_graph<R>(
        &self,
        entry: &str,
        dims: &[(String, usize)],
        with: impl FnOnce(&Graph) -> Result<R>,
    ) -> Result<R> {
        if dims == self.instance.dims() {
            return with(self.graph(entry)?);
        }
        let settings = Settings { dims: dims.to_vec(), ..self.settings.clone() };
        let instance = self.parsed.instantiate_beside(&settings, &self.instance)?;
        with(runnable(&instance, entry)?)
    }

    /// What the inputs and the outputs of an entry point that was compiled for these sizes are of the samples of a batch.
    pub(crate) fn samples(
        &self,
        entry: &str,
        dims: &[(String, usize)],
        manifest: &Manifest,
    ) -> (Vec<Samples>, Vec<Samples>) {
        let outputs = || self.output_samples(entry);
        let batch = dims.iter().find(|(name, _)| name == "batch").map(|(_, size)| *size);
        Batched { instance: &self.instance, batch, outputs: &outputs }.samples(manifest)
    }

    /// What the outputs of an entry point are of the samples.
    fn output_samples(&self, entry: &str) -> Arc<Outputs> {
        let mut known = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let found = || Arc::new(self.parsed.output_samples(&self.settings, &self.instance, entry));
        known.entry(entry.to_owned()).or_insert_with(found).clone()
    }

    fn kept(&self, key: &Key) -> Option<Arc<Executable>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let at = compiled.iter().position(|(known, _)| known == key)?;
        let found = compiled.remove(at);
        let executable = found.1.clone();
        compiled.push(found);
        Some(executable)
    }

    /// The state with zeros everywhere.
    pub(crate) fn empty_state(&self) -> Result<State> {
        let mut state = State::new();
        for slot in self.instance().state() {
            let tensor = Tensor::zeros(dtype(slot.ty.dtype), &slot.ty.dims)?;
            state.insert(slot.name.clone(), slot_kind(slot.kind), tensor)?;
        }
        Ok(state)
    }

    /// The state that training starts from: parameters drawn by `seed`, which is the key of the model's random
    /// numbers (dropout) too; everything else at its beginning.
    ///
    /// # Errors
    /// Those of compiling and running the entry point `init`.
    pub fn initial_state(&self, seed: i64) -> Result<State> {
        let mut state = self.empty_state()?;
        let executable = self.compile("init")?;
        let mut instance = brolga_runtime::Instance::bind(executable, &state, &Threads::serial())?;
        instance.run_named(&mut state, &[("seed", &Tensor::scalar(seed)?)])?;
        // `init` draws the parameters from the seed; the key of later random numbers is the seed itself.
        for slot in self.instance.state().iter().filter(|slot| slot.kind == brolga_frontend::SlotKind::Seed) {
            state.set(&slot.name, Tensor::scalar(seed)?)?;
        }
        Ok(state)
    }
}

/// The names of the models that come along, each with the family that it belongs to, in the catalogue's order.
///
/// # Errors
/// A model that does not parse.
pub fn names() -> Result<Vec<(String, &'static str)>> {
    let mut names = Vec::new();
    for file in catalogue::FILES {
        let parsed = parse_text(file.name, file.text)?;
        let variants = parsed.variants();
        if !variants.contains(&file.name) {
            names.push((file.name.to_owned(), file.name));
        }
        names.extend(variants.into_iter().map(|variant| (variant.to_owned(), file.name)));
    }
    Ok(names)
}

/// Whether this is the name of a model that comes along while there is a file of that name too that may hold a model, which is
/// then not read: `./name` is the file. What was built of a model, and is called like it, is none.
pub fn hides_file(name: &str) -> bool {
    let is_model = || matches!(Content::of(Path::new(name)), Ok(Content::Model | Content::Text));
    is_bare(name) && is_model() && names().is_ok_and(|names| names.iter().any(|(known, _)| known == name))
}

/// No path, and no name of a model file.
fn is_bare(name: &str) -> bool {
    !name.contains(['/', '\\']) && !name.contains(".ron")
}

/// A model that comes along, if there is one of that name; a variant that the name stands for is put into the settings.
fn bundled(name: &str, settings: &mut Settings) -> Result<Option<brolga_frontend::Model>> {
    // No other file has a variant of that name.
    let named = catalogue::FILES.iter().find(|file| file.name == name);
    for file in named.map_or(catalogue::FILES, std::slice::from_ref) {
        let parsed = parse_text(file.name, file.text)?;
        let is_variant = parsed.variants().contains(&name);
        if is_variant {
            settings.variant.get_or_insert_with(|| name.to_owned());
        }
        if is_variant || file.name == name {
            return Ok(Some(parsed));
        }
    }
    Ok(None)
}

fn parse_text(name: &str, text: &str) -> Result<brolga_frontend::Model> {
    Ok(brolga_frontend::Model::parse(&format!("{name}.ron"), text, &resolve)?)
}

/// Finds and reads a model, and gives the files that it was read from; a variant that the name stands for is put into the
/// settings.
fn parse(name: &str, settings: &mut Settings) -> Result<(brolga_frontend::Model, Vec<PathBuf>)> {
    // A bare name is first of all that of a model that comes along, whatever the current folder holds.
    if is_bare(name)
        && let Some(parsed) = bundled(name, settings)?
    {
        return Ok((parsed, Vec::new()));
    }
    if !is_bare(name) || Path::new(name).is_file() {
        let mut file = name;
        if let Some((path, variant)) = name.rsplit_once(':')
            && !Path::new(name).exists()
        {
            file = path;
            settings.variant = Some(variant.to_owned());
        }
        let path = Path::new(file);
        let bytes = read_regular(path, MAX_TEXT).map_err(|e| Error::io("read the model", path, &e))?;
        let content = Content::of_bytes(&bytes);
        let unknown = matches!(content, Content::Model | Content::Text | Content::Unknown);
        if !unknown && std::str::from_utf8(&bytes).is_err() {
            let message = format!("`{}` is {content}, and no model: models are texts in RON", path.shown());
            return Err(Error::Name(message));
        }
        let files = RefCell::new(vec![path.to_path_buf()]);
        let resolve = |import: &str, importer: &str| {
            let found = resolve(import, importer)?;
            if catalogue::file(import).is_none() {
                files.borrow_mut().push(PathBuf::from(&found.0));
            }
            Ok(found)
        };
        let parsed = brolga_frontend::Model::parse_bytes(file, &bytes, &resolve)?;
        return Ok((parsed, files.into_inner()));
    }
    let known = names()?;
    let error = Error::unknown("model", name, known.iter().map(|(name, _)| name.as_str()));
    Err(Error::Name(format!("{error} (a path must end in `.ron`; `brolga models` lists what comes along)")))
}

/// An imported model: one that comes along, or a file, found from the folder of the file that imports it.
fn resolve(import: &str, importer: &str) -> std::result::Result<(String, String), String> {
    if let Some(file) = catalogue::file(import) {
        return Ok((format!("{import}.ron"), file.text.to_owned()));
    }
    // `./part.ron` is the file beside the importer, by one name however often it is imported.
    let own: PathBuf = Path::new(import).components().filter(|part| *part != Component::CurDir).collect();
    let path = Path::new(importer).parent().unwrap_or(Path::new("")).join(own);
    let text = read_regular(&path, MAX_TEXT).map_err(|error| error.to_string());
    let text = text.and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
    match text {
        Ok(text) => Ok((path.display().to_string(), text)),
        Err(error) => {
            let names: Vec<&str> = catalogue::FILES.iter().map(|file| file.name).collect();
            Err(format!(
                "`{import}` is no model that comes along ({}), and cannot be read as a file: {error}",
                names.join(", ")
            ))
        }
    }
}

/// `nets/mine.ron:small` becomes `small`, `nets/mine.ron` becomes `mine`.
fn short_name(name: &str) -> String {
    if let Some((path, variant)) = name.rsplit_once(':')
        && path.ends_with(".ron")
    {
        return variant.to_owned();
    }
    let stem = Path::new(name).file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
    if name.ends_with(".ron") { stem.into_owned() } else { name.to_owned() }
}

/// The runtime's element type of a slot. A bf16 stands for a f32 inside of programs, and is no type of a model's slots.
fn dtype(dtype: brolga_ir::DType) -> DType {
    brolga_codegen::runtime_dtype(dtype).unwrap_or(DType::F32)
}

/// The runtime's name of what a slot is for.
pub(crate) fn slot_kind(kind: brolga_frontend::SlotKind) -> SlotKind {
    match kind {
        brolga_frontend::SlotKind::Parameter => SlotKind::Parameter,
        brolga_frontend::SlotKind::Buffer => SlotKind::Buffer,
        brolga_frontend::SlotKind::Fitted => SlotKind::Fitted,
        brolga_frontend::SlotKind::Optimizer => SlotKind::Optimizer,
        brolga_frontend::SlotKind::Step => SlotKind::Step,
        brolga_frontend::SlotKind::Seed => SlotKind::Seed,
        brolga_frontend::SlotKind::Kept => SlotKind::Kept,
    }
}
