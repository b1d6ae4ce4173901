// What a .tflite file says about itself beyond its tensors, for Android's task libraries and their like
// (BertNLClassifier, BertQuestionAnswerer, MediaPipe's TextClassifier): names of inputs and outputs, the
// vocabulary and the labels as files, the tokenizer.
#pragma once

#include <string>
#include <vector>

#include "thimble/formats/model.h"
#include "thimble/formats/tflite/tflite_writer.h"
#include "thimble/formats/tflite/zip_writer.h"

namespace thimble {

struct TfliteMetadata {
  std::string buffer;           // tflite_metadata.fbs
  std::vector<ZipEntry> files;  // vocab.txt, labels.txt: what there is of them
};

// `writer` has its inputs and outputs already. A tokenizer is described where task libraries would
// give the same ids but for upper case: WordPiece as BERT has it, under BERT's names of special tokens. They put
// all text into lower case.
TfliteMetadata DescribeTflite(const Model& model, const TfliteWriter& writer);

}  // namespace thimble
