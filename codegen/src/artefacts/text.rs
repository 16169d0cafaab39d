//! The code of an object or a shared library in one piece: that for each processor with its tables, and, where there are
//! several, the functions that choose among them ([`chooser`](super::chooser)). Nothing in it needs to be relocated.

use super::chooser;
use super::processors::{Codes, ProcessorCode};
use crate::error::{Error, Result};
use crate::image::symbol_name;

/// What functions that choose begin at a multiple of.
const FUNCTION_ALIGNMENT: usize = 16;

/// Code, and what lies where.
pub(crate) struct Text {
    pub bytes: Vec<u8>,
    /// What the first byte belongs at a multiple of.
    pub alignment: usize,
    pub symbols: Vec<TextSymbol>,
}

/// A function or a table.
pub(crate) struct TextSymbol {
    pub name: String,
    pub at: usize,
    pub size: usize,
    pub is_function: bool,
    /// Whether others call it.
    pub exported: bool,
}

impl Text {
    /// # Errors
    /// Code that is too far from code; too little memory.
    pub fn new(codes: &Codes, symbol: &str) -> Result<Text> {
        let mut text = Text { bytes: Vec::new(), alignment: FUNCTION_ALIGNMENT, symbols: Vec::new() };
        let several = codes.all.len() > 1;
        let functions: Vec<Vec<usize>> =
            codes.all.iter().map(|code| text.code(code, several)).collect::<Result<_>>()?;
        if several {
            text.choice(codes, &functions, symbol)?;
        }
        Ok(text)
    }

    /// Adds the code for one processor, and gives the places of its functions. Where it is one of several, nobody else sees them.
    fn code(&mut self, code: &ProcessorCode, several: bool) -> Result<Vec<usize>> {
        let linked = code.image.link()?;
        self.alignment = self.alignment.max(linked.alignment);
        let begin = self.append(&linked.bytes, linked.alignment)?;
        let end = if several { format!("_{}", symbol_name(code.cpu.name())) } else { String::new() };
        let mut places = Vec::with_capacity(linked.functions.len());
        for (function, at) in code.image.functions.iter().zip(linked.functions) {
            self.symbols.push(TextSymbol {
                name: format!("{}{end}", function.name),
                at: begin + at,
                size: function.code.len(),
                is_function: true,
                exported: function.exported && !several,
            });
            places.push(begin + at);
        }
        for (table, at) in code.image.tables.iter().zip(linked.tables) {
            let (name, size) = (format!("{}{end}", table.name), 8 * table.words.len());
            self.symbols.push(TextSymbol { name, at: begin + at, size, is_function: false, exported: false });
        }
        Ok(places)
    }

    /// Adds the functions that choose a code; `places` are those of the functions of each code.
    fn choice(&mut self, codes: &Codes, places: &[Vec<usize>], symbol: &str) -> Result<()> {
        let features: Vec<&[String]> = codes.all.iter().map(|code| code.features.as_slice()).collect();
        self.function(&chooser::chooser(symbol), |_| chooser::choose(&features))?;
        let first = &codes.all[0].image;
        for (number, entry) in first.entries.iter().enumerate() {
            self.jump(&first.functions[entry.function].name, places, |code| {
                Some(codes.all[code].image.entries[number].function)
            })?;
            if let Some(own) = entry.prepare {
                let prepare = |code: usize| codes.all[code].image.entries[number].prepare;
                self.jump(&first.functions[own].name, places, prepare)?;
            }
        }
        Ok(())
    }

    /// Adds the function that jumps to one of those that each code has at a position of its own.
    fn jump(
        &mut self,
        name: &str,
        places: &[Vec<usize>],
        position: impl Fn(usize) -> Option<usize>,
    ) -> Result<()> {
        let of_code = |(code, places): (usize, &Vec<usize>)| Some(places[position(code)?]);
        let alike: Vec<usize> = places.iter().enumerate().filter_map(of_code).collect();
        self.function(name, |at| chooser::jump(&alike, at))
    }

    /// Adds a function that others call, whose code is made for its place.
    fn function(&mut self, name: &str, code: impl FnOnce(usize) -> Result<Vec<u8>>) -> Result<()> {
        let at = self.append(&[], FUNCTION_ALIGNMENT)?;
        let code = code(at)?;
        self.append(&code, 1)?;
        let (name, size) = (name.to_owned(), code.len());
        self.symbols.push(TextSymbol { name, at, size, is_function: true, exported: true });
        Ok(())
    }

    /// Appends bytes, and gives their place.
    fn append(&mut self, bytes: &[u8], alignment: usize) -> Result<usize> {
        let at = self.bytes.len().next_multiple_of(alignment);
        let more = at + bytes.len() - self.bytes.len();
        self.bytes
            .try_reserve(more)
            .map_err(|_| Error::new(format!("there is no memory for {more} bytes of machine code")))?;
        self.bytes.resize(at, 0);
        self.bytes.extend(bytes);
        Ok(at)
    }
}
