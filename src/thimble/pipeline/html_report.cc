#include "thimble/pipeline/html_report.h"

#include <string_view>

#include "thimble/base/file.h"
#include "thimble/pipeline/report_page.h"

namespace thimble::pipeline {
namespace {

// Text that stands in a <script> or <style>, which only "</" could end.
std::string Inside(std::string text) {
  for (size_t i = text.find("</"); i != std::string::npos; i = text.find("</", i + 3)) {
    text.insert(i + 1, "\\");
  }
  return text;
}

}  // namespace

Status WriteHtmlReport(ReportKind kind, const nlohmann::ordered_json& report,
                       const std::string& charts, const std::string& path) {
  TRY(AtomicFile file, AtomicFile::Create(path));
  TRY_VOID(file.Append(kReportHead));
  TRY_VOID(file.Append("<style>\n"));
  if (!charts.empty()) {
    TRY(std::string style, ReadFile(charts + "/dist/uPlot.min.css"));
    TRY_VOID(file.Append(Inside(std::move(style)) + "\n"));
  }
  TRY_VOID(file.Append(std::string(kReportStyle) + "</style>\n"));
  TRY_VOID(file.Append(kReportBody));
  // "<" as an escape: no "</script>" or "<!--" can come from a label.
  std::string json = report.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  for (size_t i = json.find('<'); i != std::string::npos; i = json.find('<', i)) {
    json.replace(i, 1, "\\u003c");
  }
  TRY_VOID(file.Append("<script type=\"application/json\" id=\"report\">" + json + "</script>\n"));
  if (!charts.empty()) {
    TRY(std::string licence, ReadFile(charts + "/LICENSE"));
    TRY(std::string script, ReadFile(charts + "/dist/uPlot.iife.min.js"));
    TRY_VOID(file.Append("<script>\n/* uPlot\n" + Inside(std::move(licence)) + "*/\n" +
                         Inside(std::move(script)) + "</script>\n"));
  }
  TRY_VOID(file.Append("<script>\n" + std::string(kReportTools) +
                       std::string(kind == ReportKind::kTypes ? kTypesReport : kCompressionReport) +
                       "</script>\n"));
  return file.Commit();
}

}  // namespace thimble::pipeline
