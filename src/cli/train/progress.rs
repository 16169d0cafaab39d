//! A bar on a terminal.

use brolga_command::Bar;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Draws how far an epoch is, or a whole plan.
pub struct Drawn(ProgressBar);

impl Drawn {
    /// Nothing is drawn before training begins.
    pub fn new() -> Drawn {
        Drawn(ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden()))
    }
}

impl Bar for Drawn {
    fn start(&mut self, updates: u64) {
        let template = "{prefix} {bar:30} {pos}/{len} {msg} {eta}";
        // The template is fixed, and right.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.0 = ProgressBar::with_draw_target(Some(updates), ProgressDrawTarget::stderr_with_hz(10));
        self.0.set_style(style);
    }

    fn step(&mut self, position: u64, what: &str, message: Option<String>) {
        if position <= self.0.position() {
            self.0.reset_eta();
        }
        self.0.set_position(position);
        self.0.set_prefix(what.to_owned());
        if let Some(message) = message {
            self.0.set_message(message);
        }
    }

    fn line(&self, text: &str) {
        self.0.suspend(|| errln!("{text}"));
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
