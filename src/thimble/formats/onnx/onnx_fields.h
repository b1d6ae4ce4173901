// Field numbers of onnx.proto by message, and of its enumerations.
#pragma once

#include <cstdint>

namespace thimble::onnx_fields {

namespace model {
inline constexpr int kIrVersion = 1, kProducerName = 2, kProducerVersion = 3, kGraph = 7,
                     kOpsetImport = 8, kMetadata = 14;
}
namespace opset {
inline constexpr int kDomain = 1, kVersion = 2;
}
namespace entry {
inline constexpr int kKey = 1, kValue = 2;
}
namespace graph {
inline constexpr int kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12,
                     kSparseInitializer = 15;
}
namespace node {
inline constexpr int kInput = 1, kOutput = 2, kName = 3, kOpType = 4, kAttribute = 5, kDomain = 7;
}
namespace attribute {
inline constexpr int kName = 1, kFloat = 2, kInt = 3, kString = 4, kTensor = 5, kGraph = 6,
                     kFloats = 7, kInts = 8, kType = 20;
inline constexpr int64_t kTypeFloat = 1, kTypeInt = 2, kTypeInts = 7;
}  // namespace attribute
namespace tensor {
inline constexpr int kDims = 1, kDataType = 2, kFloatData = 4, kInt32Data = 5, kInt64Data = 7,
                     kName = 8, kRawData = 9, kDoubleData = 10, kUint64Data = 11,
                     kExternalData = 13, kDataLocation = 14;
inline constexpr int64_t kExternal = 1;
// TensorProto.DataType
inline constexpr int kFloat = 1, kUint8 = 2, kInt8 = 3, kUint16 = 4, kInt16 = 5, kInt32 = 6,
                     kInt64 = 7, kBool = 9, kFloat16 = 10, kDouble = 11, kUint32 = 12, kUint64 = 13,
                     kBFloat16 = 16;
}  // namespace tensor
namespace value {
inline constexpr int kName = 1, kType = 2, kTensorType = 1, kElemType = 1, kShape = 2, kDim = 1,
                     kDimValue = 1, kDimParam = 2;
}

}  // namespace thimble::onnx_fields
