/** `hshm`: what is in the shared memory of this node, whether it is in order, and tidying it up. */
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "commands.h"
#include "hermes_shm/base/config.h"

namespace {

using hshm::tool::ExitStatus;

constexpr const char* kJson = "Print one JSON object instead of text";

constexpr const char* kSegment = "A name, path or label, as hshm ls shows it";

CLI::App* AddLs(CLI::App* app, hshm::tool::LsOptions* options) {
  CLI::App* const command = app->add_subcommand("ls", "List the segments of this node");
  command->add_flag("--json", options->json_, kJson);
  command->add_flag("--all", options->all_, "Segments of other users too, as far as permitted");
  return command;
}

CLI::App* AddStat(CLI::App* app, hshm::tool::StatOptions* options) {
  CLI::App* const command = app->add_subcommand("stat", "Show what segments hold");
  command->add_option("SEGMENT", options->segments_, kSegment)->required();
  command->add_flag("--json", options->json_, kJson);
  return command;
}

CLI::App* AddCheck(CLI::App* app, hshm::tool::CheckOptions* options) {
  CLI::App* const command = app->add_subcommand("check", "Look whether a segment is whole");
  command->add_option("SEGMENT", options->segment_, kSegment)->required();
  command->add_flag("--json", options->json_, kJson);
  return command;
}

CLI::App* AddClean(CLI::App* app, hshm::tool::CleanOptions* options) {
  CLI::App* const command = app->add_subcommand("clean", "Remove segments that nobody lives in");
  command->add_option("NAME", options->names_,
                      "Names or paths of segments; without any, all that are dead");
  command->add_flag("--dry-run", options->dry_run_, "Say what would be removed, remove nothing");
  command->add_flag("--all", options->all_, "Segments of other users too, as far as permitted");
  command->add_flag("--json", options->json_, kJson);
  return command;
}

CLI::App* AddDoctor(CLI::App* app, hshm::tool::DoctorOptions* options) {
  CLI::App* const command =
      app->add_subcommand("doctor", "Look whether this node is fit for heaps");
  command->add_flag("--json", options->json_, kJson);
  return command;
}

ExitStatus Run(int argc, char** argv) {
  CLI::App app("Looks after the shared-memory heaps of hshm on this node.", "hshm");
  app.set_version_flag("--version", "hshm " HSHM_VERSION_STRING);
  app.require_subcommand(1);
  app.footer("Exit status: 0 all well, 1 something is not, 2 it could not be done. See hshm(1).");
  hshm::tool::LsOptions ls;
  hshm::tool::CleanOptions clean;
  hshm::tool::DoctorOptions doctor;
  hshm::tool::StatOptions stat;
  hshm::tool::CheckOptions check;
  const CLI::App* const ls_command = AddLs(&app, &ls);
  const CLI::App* const stat_command = AddStat(&app, &stat);
  const CLI::App* const check_command = AddCheck(&app, &check);
  const CLI::App* const clean_command = AddClean(&app, &clean);
  AddDoctor(&app, &doctor);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ExitStatus::kWell : ExitStatus::kFailed;
  }
  if (ls_command->parsed()) return RunLs(ls);
  if (stat_command->parsed()) return RunStat(stat);
  if (check_command->parsed()) return RunCheck(check);
  if (clean_command->parsed()) return RunClean(clean);
  return RunDoctor(doctor);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return hshm::tool::kFailed;
  }
}
