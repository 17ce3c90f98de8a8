//! WORKDIR: a directory that is made, and the place where relative paths start.

use crate::PlanError;
use crate::plan::{Action, WorkdirAction};
use crate::stage_lowering::StageLowering;
use crate::step_name::file_step_name;
use rbuild_parser::{Rule, Word};

pub(super) fn workdir(stage: &mut StageLowering<'_, '_>, written: &Word) -> Result<(), PlanError> {
    let written = stage.expand(&written.value)?;
    // one relative path is reported: fixing it fixes the ones that build on it
    if !stage.state.workdir_set && !written.starts_with('/') {
        let message =
            format!("Relative workdir {written:?} can have unexpected results if the base image changes");
        stage.lint(Rule::WorkdirRelativePath, message);
    }
    stage.state.workdir_set = true;
    stage.state.enter_directory(&written);
    let path = stage.state.cwd.clone();
    let shown = &stage.state.config.config.working_dir;
    let created_by = format!("WORKDIR {shown}");
    // Docker looks at the path as it is written: `/a/..` makes a layer
    if shown == "/" {
        stage.record(created_by);
        return Ok(());
    }
    let name = file_step_name(stage.text(), stage.escape(), &stage.state.env);
    let user = stage.state.config.config.user.clone();
    stage.push_step(Action::Workdir(WorkdirAction { path, user }), &name, created_by);
    Ok(())
}
