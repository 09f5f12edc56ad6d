//! `poiesis completions`: the script with which a shell completes commands.
//!
//! The scripts are short and the same for every version: they ask the program itself, by the hidden verb `suggest`, what may come next.
//! So the names of models, recipes, environments, settings and runs are those that there are, in every shell.

mod line;
pub(crate) mod suggest;
mod values;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::render::result;

/// Print the script with which a shell completes commands
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  source <(poiesis completions bash)
      try it in this shell
  mkdir -p ~/.local/share/bash-completion/completions
  poiesis completions bash > ~/.local/share/bash-completion/completions/poiesis
      bash, where its package bash-completion is installed; elsewhere put the first line into ~/.bashrc
  mkdir -p ~/.zfunc
  poiesis completions zsh > ~/.zfunc/_poiesis
      zsh, with `fpath=(~/.zfunc $fpath)` in ~/.zshrc before the line that calls compinit
  poiesis completions fish > ~/.config/fish/completions/poiesis.fish
      fish
  poiesis completions powershell >> $PROFILE
      PowerShell
  echo 'eval (poiesis completions elvish | slurp)' >> ~/.config/elvish/rc.elv
      elvish

Open a new shell, and press the tab key. Verbs, options, models, recipes, environments, settings (--set), data sets, runs and \
their classes are completed, and paths where a file or a folder is expected. The script asks the program that is on the path, so it \
need not be written again when that is updated.")]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell", alias = "pwsh")]
    Pwsh,
    Zsh,
}

impl Completions {
    pub(crate) fn run(self) -> Result<()> {
        result(self.shell.script())
    }
}

impl Shell {
    fn script(self) -> &'static str {
        match self {
            Shell::Bash => include_str!("poiesis.bash"),
            Shell::Elvish => include_str!("poiesis.elv"),
            Shell::Fish => include_str!("poiesis.fish"),
            Shell::Pwsh => include_str!("poiesis.ps1"),
            Shell::Zsh => include_str!("poiesis.zsh"),
        }
    }
}
