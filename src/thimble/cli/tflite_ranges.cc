#include "thimble/cli/tflite_ranges.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "thimble/cli/console.h"
#include "thimble/data/plain_text.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/runtime/session.h"
#include "thimble/text/tokenizer.h"

namespace thimble::cli {
namespace {

Result<std::vector<std::string>> ReadSamples(const std::string& path, size_t samples) {
  TRY(PlainText text, PlainText::Open({path}));
  std::vector<std::string> texts;
  std::string line;
  for (;;) {
    TRY(const bool more, text.Next(line));
    if (!more) break;
    texts.push_back(line);
  }
  if (texts.empty()) return InvalidData(path + ": has no text to calibrate on");
  if (texts.size() <= samples) return texts;
  std::vector<std::string> chosen;
  for (size_t i = 0; i < samples; ++i) chosen.push_back(texts[i * texts.size() / samples]);
  return chosen;
}

// The model as the runtime takes it, with every value whose range is asked for as an output besides its own.
Model Observed(Model model, const std::vector<ValueId>& values, std::vector<std::string>& names) {
  for (const ValueId id : values) {
    names.push_back("observed." + std::to_string(Index(id)));
    model.graph.outputs.push_back({names.back(), id});
  }
  return Packed(std::move(model));
}

void Widen(TfliteRange& range, const OutputView& output) {
  for (size_t r = 0; r < output.rows; ++r) {
    const auto row = output.row(r);
    const auto [least, most] = std::minmax_element(row.begin(), row.end());
    range = {std::min(range.least, *least), std::max(range.most, *most)};
  }
}

}  // namespace

Result<std::map<std::string, TfliteRange>> MeasureTfliteRanges(const Model& model,
                                                               const std::string& path,
                                                               size_t samples) {
  const std::vector<ValueId> values = TfliteRangesFor(model.graph);
  if (values.empty()) {
    return InvalidArgument("--calib is for int8 weights, and there are none: add --weights int8");
  }
  TRY(const std::vector<std::string> texts, ReadSamples(path, samples));
  TRY(const Tokenizer tokenizer, Tokenizer::Create(model.tokenizer));
  std::vector<std::string> names;
  const Model observed = Observed(model, values, names);
  TRY(Session session, Session::Create(observed.graph, {.outputs = names}));
  std::map<std::string, TfliteRange> ranges;
  for (const std::string& text : texts) {
    TRY_VOID(CheckInterrupt());
    TRY(const Encoding encoding,
        tokenizer.Encode(text,
                         {.max_length = static_cast<size_t>(model.graph.max_sequence_length)}));
    Batch batch;
    batch.Add(encoding.ids, encoding.type_ids);
    TRY_VOID(session.Run(batch));
    for (size_t i = 0; i < session.outputs(); ++i) {
      Widen(ranges[model.graph.value(values[i]).name], session.output(i));
    }
  }
  return ranges;
}

}  // namespace thimble::cli
