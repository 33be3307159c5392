//! The commands, in the groups in which the help shows them. A command belongs to a group by its
//! type, so that none can be left out.

use std::fmt::Write as _;

use clap::Subcommand;
use clap::builder::Styles;

use super::{
    Exit, Failure, apply, approve, completions, demo, diff, doctor, edit, explain, export, forget,
    get, history, node, pause, release, retry, rollback, run, sim, simulate, status, teardown,
    validate,
};

/// Between the longest name and what it does.
const GAP: usize = 2;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Documents(Documents),
    #[command(flatten)]
    Rollout(Rollout),
    #[command(flatten)]
    Cluster(Cluster),
    #[command(flatten)]
    Trial(Trial),
    #[command(flatten)]
    Other(Other),
}

#[derive(Debug, Subcommand)]
pub(super) enum Documents {
    Validate(validate::Validate),
    Explain(explain::Explain),
    Diff(diff::Diff),
    Apply(apply::Apply),
    Edit(edit::Edit),
    Get(get::Get),
    History(history::History),
    Rollback(rollback::Rollback),
}

#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    Status(status::Status),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Approve(approve::Approve),
    Retry(retry::Retry),
    Release(release::Release),
    Forget(forget::Forget),
}

#[derive(Debug, Subcommand)]
pub(super) enum Cluster {
    Run(Box<run::Run>),
    Doctor(doctor::Doctor),
    Export(export::Export),
    Teardown(teardown::Teardown),
}

#[derive(Debug, Subcommand)]
pub(super) enum Trial {
    Demo(demo::Demo),
    Simulate(simulate::Simulate),
    #[command(hide = true)]
    Sim(sim::Sim),
}

#[derive(Debug, Subcommand)]
pub(super) enum Other {
    Completions(completions::Completions),
    Node(node::Node),
}

impl Command {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        match self {
            Self::Documents(command) => match command {
                Documents::Validate(validate) => validate.execute(),
                Documents::Explain(explain) => explain.execute(),
                Documents::Diff(diff) => diff.execute().await,
                Documents::Apply(apply) => apply.execute().await,
                Documents::Edit(edit) => edit.execute().await,
                Documents::Get(get) => get.execute().await,
                Documents::History(history) => history.execute().await,
                Documents::Rollback(rollback) => rollback.execute().await,
            },
            Self::Rollout(command) => match command {
                Rollout::Status(status) => status.execute().await,
                Rollout::Pause(pause) => pause.execute().await,
                Rollout::Resume(resume) => resume.execute().await,
                Rollout::Approve(approve) => approve.execute().await,
                Rollout::Retry(retry) => retry.execute().await,
                Rollout::Release(release) => release.execute().await,
                Rollout::Forget(forget) => forget.execute().await,
            },
            Self::Cluster(command) => match command {
                Cluster::Run(run) => run.execute().await,
                Cluster::Doctor(doctor) => doctor.execute().await,
                Cluster::Export(export) => export.execute().await,
                Cluster::Teardown(teardown) => teardown.execute().await,
            },
            Self::Trial(command) => match command {
                Trial::Demo(demo) => demo.execute().await,
                Trial::Simulate(simulate) => simulate.execute(),
                Trial::Sim(sim) => sim.execute().await,
            },
            Self::Other(command) => match command {
                Other::Completions(completions) => completions.execute(),
                Other::Node(node) => node.execute().await,
            },
        }
    }
}

/// The help of the whole program: clap has groups of options, and none of commands.
pub(super) fn template() -> String {
    let groups = [
        ("What is declared", commands::<Documents>()),
        ("A rollout", commands::<Rollout>()),
        ("The cluster", commands::<Cluster>()),
        ("Trying it out", commands::<Trial>()),
        ("Other", commands::<Other>()),
    ];
    let names = groups.iter().flat_map(|(_, commands)| commands).map(|(name, _)| name.len());
    let width = names.max().unwrap_or_default() + GAP;
    let styles = Styles::styled();
    let (title, literal) = (styles.get_header(), styles.get_literal());
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (group, commands) in &groups {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n{title}{group}:{title:#}\n");
        for (name, about) in commands {
            let _ =
                writeln!(text, "  {literal}{name}{literal:#}{:1$}{about}", "", width - name.len());
        }
    }
    let _ = write!(text, "\n{title}Options:{title:#}\n{{options}}\n");
    text.push_str(
        "\n`calico-dcos COMMAND --help` has the options of a command, and examples.{after-help}",
    );
    text
}

/// The commands of a group that are shown, with what each does.
fn commands<T: Subcommand>() -> Vec<(String, String)> {
    let group = T::augment_subcommands(clap::Command::new("group"));
    let shown = group.get_subcommands().filter(|command| !command.is_hide_set());
    let about =
        |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    shown.map(|command| (command.get_name().to_owned(), about(command))).collect()
}
