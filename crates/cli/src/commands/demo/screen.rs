//! A part of the terminal that is drawn over and over, in place.
//!
//! What was on the screen before stays above, and the last frame stays behind. The terminal keeps its own line discipline, so
//! Ctrl-C remains a signal; only the echo of keys is off, because it would tear the picture.

use std::io::{self, Stdout, Write};

use crossterm::{
    cursor::{Hide, MoveToColumn, MoveUp, Show},
    queue,
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    },
};
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};

/// The live part of the terminal. Dropping it gives the terminal back as it was.
#[derive(Debug)]
pub(super) struct Screen {
    stdout: Stdout,
    /// Lines of the last frame, which the next one is drawn over.
    drawn: u16,
    before: Option<Termios>,
}

// === impl Screen ===

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// When it cannot be written to.
    pub(super) fn open() -> io::Result<Self> {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut silent = before.clone();
            silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
            // A terminal that does not let us is as good: only keys would show.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &silent);
        }
        let mut screen = Self { stdout: io::stdout(), drawn: 0, before };
        queue!(screen.stdout, Hide, DisableLineWrap)?;
        screen.stdout.flush()?;
        Ok(screen)
    }

    /// Columns and rows, as they are now.
    pub(super) fn size() -> (usize, usize) {
        let (columns, rows) = crossterm::terminal::size().unwrap_or((80, 24));
        // Some say 0 where they do not know.
        let known = |size: u16, default: usize| if size == 0 { default } else { usize::from(size) };
        (known(columns, 80), known(rows, 24))
    }

    /// Draws a frame over the last one. What does not fit into the terminal's height is left out from the top.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be written to.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (_, rows) = Self::size();
        let lines = &lines[lines.len().saturating_sub(rows.saturating_sub(1))..];
        queue!(self.stdout, BeginSynchronizedUpdate)?;
        let up = self.drawn.min(u16::try_from(rows.saturating_sub(1)).unwrap_or(u16::MAX));
        if up > 0 {
            queue!(self.stdout, MoveUp(up))?;
        }
        queue!(self.stdout, MoveToColumn(0))?;
        for line in lines {
            // Cleared before, not after: a line that fills the row leaves the cursor on its last character.
            queue!(self.stdout, Clear(ClearType::CurrentLine))?;
            self.stdout.write_all(line.as_bytes())?;
            self.stdout.write_all(b"\r\n")?;
        }
        queue!(self.stdout, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.drawn = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        self.stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = queue!(self.stdout, EndSynchronizedUpdate, EnableLineWrap, Show);
        let _ = self.stdout.flush();
        if let Some(before) = &self.before {
            // Keys pressed meanwhile were meant for nobody.
            let _ = tcflush(io::stdin(), QueueSelector::IFlush);
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
