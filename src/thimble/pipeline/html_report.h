// report.html: one file that shows what a verb says with --json, which it holds; every figure in it is computed from there.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "thimble/base/result.h"

namespace thimble::pipeline {

enum class ReportKind {
  kCompression,  // of `compress`
  kTypes,        // of `quantize`
};

// `charts`: folder of the npm package uplot (MIT), whose script, style and licence are put into the page; empty: the page has the
// tables and says so. The page reads nothing else, from nowhere.
Status WriteHtmlReport(ReportKind kind, const nlohmann::ordered_json& report,
                       const std::string& charts, const std::string& path);

}  // namespace thimble::pipeline
