// Memory that runs out anywhere is an error that the caller reads, and the library goes on working.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "thimble.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/runtime/test_models.h"

namespace {

// How many more allocations succeed; below zero: all.
int allocations_left = -1;

bool Refuse() { return allocations_left == 0 || (allocations_left > 0 && allocations_left-- == 0); }

}  // namespace

void* operator new(size_t bytes) {
  void* place = Refuse() ? nullptr : std::malloc(bytes);
  if (place == nullptr) throw std::bad_alloc();
  return place;
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  const auto align = static_cast<size_t>(alignment);
  void* place = Refuse() ? nullptr : std::aligned_alloc(align, (bytes + align - 1) / align * align);
  if (place == nullptr) throw std::bad_alloc();
  return place;
}
void operator delete(void* place) noexcept { std::free(place); }
void operator delete(void* place, size_t) noexcept { std::free(place); }
void operator delete(void* place, std::align_val_t) noexcept { std::free(place); }
void operator delete(void* place, size_t, std::align_val_t) noexcept { std::free(place); }

namespace thimble {
namespace {

// Loads, predicts, reads; the first status that is not THIMBLE_OK.
thimble_status Use(const std::string& file) {
  thimble_model* model = nullptr;
  thimble_predictor* predictor = nullptr;
  thimble_results* results = nullptr;
  thimble_status status = thimble_model_load_bytes(file.data(), file.size(), THIMBLE_COPY, &model);
  if (status == THIMBLE_OK) status = thimble_predictor_create(model, nullptr, &predictor);
  if (status == THIMBLE_OK) {
    status = thimble_predict_text(predictor, "A fine \xC3\xA9 film", nullptr, &results);
  }
  thimble_results_free(results);
  thimble_predictor_free(predictor);
  thimble_model_free(model);
  return status;
}

TEST(Memory, MayRunOutAnywhere) {
  const std::string file = *SerializeThimble(TestModel(Task::kSingleLabel, 3));
  ASSERT_EQ(Use(file), THIMBLE_OK);  // what is made once per process is made
  int refused = 0;
  for (thimble_status status = THIMBLE_RESOURCE_EXHAUSTED; status != THIMBLE_OK; ++refused) {
    allocations_left = refused;
    status = Use(file);
    allocations_left = -1;
    if (status == THIMBLE_OK) break;
    ASSERT_EQ(status, THIMBLE_RESOURCE_EXHAUSTED)
        << "allocation " << refused << ": " << thimble_error();
    ASSERT_STREQ(thimble_error(), "there is not enough memory");
  }
  EXPECT_GT(refused, 100) << "the test has looked at few allocations";
  EXPECT_EQ(Use(file), THIMBLE_OK);
}

}  // namespace
}  // namespace thimble
