//! The commands as the manual lists them, made from the definitions that parse the command line.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::{Cli, EXIT_CODES};

/// The generated part of docs/COMMANDS.md.
pub fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::new();
    for command in root.get_subcommands() {
        // Writing to a string cannot fail.
        let _ = section(&mut text, command);
    }
    let _ = write!(
        text,
        "\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n"
    );
    for (code, meaning) in EXIT_CODES {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text
}

fn section(text: &mut String, command: &Command) -> std::fmt::Result {
    writeln!(text, "\n## {}\n", command.get_name())?;
    if let Some(about) = command.get_about() {
        writeln!(text, "{about}.\n")?;
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    writeln!(text, "```\n{usage}\n```")?;
    if let Some(about) = command.get_long_about() {
        // Its first paragraph is the short one.
        let about = about.to_string();
        if let Some((_, rest)) = about.split_once("\n\n") {
            writeln!(text, "\n{rest}")?;
        }
    }
    let is_own = |arg: &&Arg| !arg.is_hide_set() && arg.get_id() != "help";
    let mut args = command.get_arguments().filter(is_own).peekable();
    if args.peek().is_some() {
        writeln!(text, "\n| argument | meaning |\n| --- | --- |")?;
        for arg in args {
            writeln!(text, "| `{}` | {} |", name(arg), meaning(arg))?;
        }
    }
    if let Some(after) = command.get_after_help() {
        writeln!(text, "\n{after}")?;
    }
    Ok(())
}

fn name(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let takes_value = !matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count);
    let value = names.first().map_or_else(String::new, ToString::to_string);
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let options: Vec<_> = short.into_iter().chain(long).collect();
    match (options.is_empty(), takes_value) {
        (true, _) => value,
        (false, true) => format!("{} {value}", options.join(", ")),
        (false, false) => options.join(", "),
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut meaning = help.replace('\n', " ").replace('|', "\\|");
    let values = arg.get_possible_values();
    let is_choice = !values.is_empty() && !matches!(arg.get_action(), ArgAction::SetTrue);
    if is_choice {
        let words = values.iter().map(|value| format!("`{}`", value.get_name()));
        let words = words.collect::<Vec<_>>().join(", ");
        meaning = format!("{meaning}: {words}");
    }
    let defaults = arg.get_default_values();
    if let [default] = defaults
        && is_shown(arg)
    {
        meaning = format!("{meaning} (`{}` if not given)", default.to_string_lossy());
    }
    meaning
}

fn is_shown(arg: &Arg) -> bool {
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count);
    !is_flag && !arg.is_hide_default_value_set()
}
