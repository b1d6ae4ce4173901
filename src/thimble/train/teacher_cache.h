// What a teacher says about every example, computed once and kept on disk.
//
// The file is named by what it depends on (teacher, examples, outputs), is written atomically, and is mapped when
// it is used: reading an example costs its bytes. Values are float32: hidden states of networks without norms
// exceed float16.
// Thread-safety: reading is free for all.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/train/examples.h"
#include "thimble/train/torch.h"

namespace thimble::train {

class TeacherCache {
 public:
  // Uses the file in `folder` that fits, or runs the teacher and writes it; of several processes that want the same
  // file one does so while the others wait, calling `progress` all the same. `ids_of` gives the token ids by which
  // the teacher reads example i (its tokenizer may be another than the student's). `teacher` must be packed, with
  // `outputs` among its graph outputs; `teacher_key` names its weights. `progress` is told the share done; an
  // error it returns ends the run (nothing is left behind).
  using IdsOf = std::function<const TrainingExample&(size_t)>;
  static Result<TeacherCache> Open(const std::string& folder, const Graph& teacher,
                                   const std::string& teacher_key,
                                   std::span<const std::string> outputs, size_t examples,
                                   const IdsOf& ids_of, int threads,
                                   const std::function<Status(double)>& progress);

  // Rows of output `output` for these examples, one below the other: [rows, width], float32.
  at::Tensor Get(size_t output, std::span<const size_t> examples) const;

  const std::string& path() const { return path_; }
  bool computed() const { return computed_; }  // false: it was there already

 private:
  struct OutputLayout {
    int64_t width = 0;
    bool per_token = false;
    std::vector<uint64_t> begin, end;  // of each example, in values from the start of the data
  };

  std::string path_;
  bool computed_ = false;
  MappedFile file_;
  std::vector<OutputLayout> outputs_;
};

}  // namespace thimble::train
