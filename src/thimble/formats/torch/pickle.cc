#include "thimble/formats/torch/pickle.h"

#include <bit>
#include <unordered_map>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/formats/torch/bytes.h"

namespace thimble {
namespace {

// Opcodes by their names in Python's pickletools.
enum Op : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNoneOp = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobalOp = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kListOp = 'l',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTupleOp = 't',
  kSetItems = 'u',
  kDictOp = 'd',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

// Bounds memory to some hundred bytes each. A state dictionary takes about a hundred per tensor.
constexpr size_t kMaxOpcodes = size_t{1} << 20;

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, bool (*may_use)(std::string_view))
      : bytes_(bytes), may_use_(may_use) {}

  Result<Pickle> Run() && {
    for (size_t count = 0; count < kMaxOpcodes; ++count) {
      opcode_at_ = at_;
      TRY(const uint64_t op, Number(1));
      if (op == kStop) {
        TRY(pickle_.root, Pop());
        pickle_.bytes = at_;
        return std::move(pickle_);
      }
      TRY_VOID(Step(static_cast<uint8_t>(op)));
    }
    return ResourceExhausted("the pickle has more than " + std::to_string(kMaxOpcodes) +
                             " opcodes, which no state dictionary needs");
  }

 private:
  Error Wrong(std::string_view what) const {
    return InvalidData("the pickle " + std::string(what) + " at byte " +
                       std::to_string(opcode_at_));
  }

  // Reading.
  Result<std::string_view> Take(uint64_t size) {
    if (!Inside(bytes_, at_, size)) return Wrong("is truncated");
    const std::string_view text = Text(bytes_.subspan(at_, size));
    at_ += size;
    return text;
  }
  Result<uint64_t> Number(size_t size) {
    TRY(const std::string_view text, Take(size));
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<uint8_t>(text[i]);
    return value;
  }
  Result<std::string_view> Line() {
    const std::string_view rest = Text(bytes_.subspan(at_));
    const size_t end = rest.find('\n');
    if (end == rest.npos) return Wrong("is truncated");
    at_ += end + 1;
    return rest.substr(0, end);
  }

  // The stack.
  Status Push(PickleValue value) {
    stack_.push_back(static_cast<PickleId>(pickle_.values.size()));
    pickle_.values.push_back(std::move(value));
    return {};
  }
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Result<PickleId> Pop() {
    if (stack_.size() <= Floor()) return Wrong("takes from an empty stack");
    const PickleId id = stack_.back();
    stack_.pop_back();
    return id;
  }
  // The last `count` values of the stack.
  Result<std::vector<PickleId>> PopSome(size_t count) {
    if (stack_.size() - Floor() < count) return Wrong("takes from an empty stack");
    std::vector<PickleId> ids(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return ids;
  }
  // Everything above the last mark.
  Result<std::vector<PickleId>> PopToMark() {
    if (marks_.empty()) return Wrong("takes from a stack without a mark");
    Result<std::vector<PickleId>> ids = PopSome(stack_.size() - marks_.back());
    marks_.pop_back();
    return ids;
  }
  Result<PickleValue*> Top() {
    if (stack_.size() <= Floor()) return Wrong("takes from an empty stack");
    return &pickle_.values[stack_.back()];
  }

  Status PushText(PickleKind kind, size_t length_bytes) {
    TRY(const uint64_t length, Number(length_bytes));
    TRY(const std::string_view text, Take(length));
    return Push({.kind = kind, .text = text});
  }
  Status PushInteger(int64_t value) {
    return Push({.kind = PickleKind::kInteger, .integer = value});
  }
  Status PushLong(size_t length_bytes) {
    TRY(const uint64_t length, Number(length_bytes));
    TRY(const std::string_view digits, Take(length));
    PickleValue value{.kind = PickleKind::kInteger};
    if (digits.size() > sizeof(uint64_t)) {
      value.text = digits;
      return Push(std::move(value));
    }
    const bool negative = !digits.empty() && (digits.back() & 0x80) != 0;
    uint64_t bits = negative ? ~uint64_t{0} : 0;
    for (size_t i = digits.size(); i-- > 0;) bits = bits << 8 | static_cast<uint8_t>(digits[i]);
    value.integer = static_cast<int64_t>(bits);
    return Push(std::move(value));
  }
  Status PushReal() {
    TRY(const uint64_t bits, Number(sizeof(uint64_t)));
    uint64_t big_endian = 0;
    for (size_t i = 0; i < sizeof(uint64_t); ++i) {
      big_endian = big_endian << 8 | (bits >> (8 * i) & 0xFF);
    }
    return Push({.kind = PickleKind::kReal, .real = std::bit_cast<double>(big_endian)});
  }
  Status PushItems(PickleKind kind, Result<std::vector<PickleId>> items) {
    if (!items) return std::move(items).error();
    return Push({.kind = kind, .items = *std::move(items)});
  }
  Status PushGlobal(std::string_view module, std::string_view name) {
    std::string full = std::string(module).append(".").append(name);
    if (!may_use_(full)) {
      return Unsupported(
          "refuses to run " + Quoted(full) +
          ", which the pickle asks for: a checkpoint holds tensors and nothing else");
    }
    pickle_.names.push_back(std::move(full));
    return Push({.kind = PickleKind::kGlobal, .text = pickle_.names.back()});
  }

  // Containers.
  Status Extend(PickleKind kind, Result<std::vector<PickleId>> items) {
    if (!items) return std::move(items).error();
    TRY(PickleValue* const container, Top());
    const bool sets_items = kind == PickleKind::kDict;
    if (container->kind != kind && !(sets_items && container->kind == PickleKind::kCall)) {
      return Wrong("adds to something that is no container for it");
    }
    if (sets_items && items->size() % 2 != 0) return Wrong("has a key without a value");
    container->items.insert(container->items.end(), items->begin(), items->end());
    return {};
  }
  Status Reduce() {
    TRY(const PickleId arguments, Pop());
    TRY(const PickleId callable, Pop());
    if (pickle_.values[callable].kind != PickleKind::kGlobal ||
        pickle_.values[arguments].kind != PickleKind::kTuple) {
      return Wrong("calls something that is no function");
    }
    return Push({.kind = PickleKind::kCall, .items = {callable, arguments}});
  }
  // Attributes of an object, such as the version numbers that PyTorch hangs on a state dictionary. No
  // value depends on them.
  Status DropAttributes() {
    TRY_VOID(Pop());
    TRY_VOID(Top());
    return {};
  }
  Status StackGlobal() {
    TRY(const PickleId name, Pop());
    TRY(const PickleId module, Pop());
    if (pickle_.values[name].kind != PickleKind::kText ||
        pickle_.values[module].kind != PickleKind::kText) {
      return Wrong("has a global whose name is not a text");
    }
    return PushGlobal(pickle_.values[module].text, pickle_.values[name].text);
  }

  // The memo.
  Status Remember(uint64_t key) {
    if (stack_.size() <= Floor()) return Wrong("takes from an empty stack");
    memo_[key] = stack_.back();
    return {};
  }
  Status Recall(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) return Wrong("refers to something it has not remembered");
    stack_.push_back(found->second);
    return {};
  }

  Status Step(uint8_t op);
  Status StepContainer(uint8_t op);
  Status StepMemo(uint8_t op);

  std::span<const std::byte> bytes_;
  bool (*may_use_)(std::string_view);
  size_t at_ = 0, opcode_at_ = 0;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint64_t, PickleId> memo_;
  Pickle pickle_;
};

Status Machine::Step(uint8_t op) {
  switch (op) {
    case kNoneOp:
      return Push({});
    case kNewTrue:
      return Push({.kind = PickleKind::kBool, .integer = 1});
    case kNewFalse:
      return Push({.kind = PickleKind::kBool, .integer = 0});
    case kBinInt1: {
      TRY(const uint64_t value, Number(1));
      return PushInteger(static_cast<int64_t>(value));
    }
    case kBinInt2: {
      TRY(const uint64_t value, Number(2));
      return PushInteger(static_cast<int64_t>(value));
    }
    case kBinInt: {
      TRY(const uint64_t value, Number(4));
      return PushInteger(static_cast<int32_t>(static_cast<uint32_t>(value)));
    }
    case kLong1:
      return PushLong(1);
    case kLong4:
      return PushLong(4);
    case kBinFloat:
      return PushReal();
    // Python 2's str: text in every checkpoint that has it.
    case kShortBinString:
      return PushText(PickleKind::kText, 1);
    case kBinString:
      return PushText(PickleKind::kText, 4);
    case kShortBinUnicode:
      return PushText(PickleKind::kText, 1);
    case kBinUnicode:
      return PushText(PickleKind::kText, 4);
    case kBinUnicode8:
      return PushText(PickleKind::kText, 8);
    case kShortBinBytes:
      return PushText(PickleKind::kBytes, 1);
    case kBinBytes:
      return PushText(PickleKind::kBytes, 4);
    case kBinBytes8:
      return PushText(PickleKind::kBytes, 8);
    case kGlobalOp: {
      TRY(const std::string_view module, Line());
      TRY(const std::string_view name, Line());
      return PushGlobal(module, name);
    }
    case kStackGlobal:
      return StackGlobal();
    case kReduce:
      return Reduce();
    case kBuild:
      return DropAttributes();
    case kBinPersId:
      return PushItems(PickleKind::kPersistent, PopSome(1));
    default:
      return StepContainer(op);
  }
}

Status Machine::StepContainer(uint8_t op) {
  switch (op) {
    case kEmptyTuple:
      return Push({.kind = PickleKind::kTuple});
    case kEmptyList:
      return Push({.kind = PickleKind::kList});
    case kEmptyDict:
      return Push({.kind = PickleKind::kDict});
    case kEmptySet:
      return Push({.kind = PickleKind::kSet});
    case kTuple1:
      return PushItems(PickleKind::kTuple, PopSome(1));
    case kTuple2:
      return PushItems(PickleKind::kTuple, PopSome(2));
    case kTuple3:
      return PushItems(PickleKind::kTuple, PopSome(3));
    case kTupleOp:
      return PushItems(PickleKind::kTuple, PopToMark());
    case kListOp:
      return PushItems(PickleKind::kList, PopToMark());
    case kFrozenSet:
      return PushItems(PickleKind::kSet, PopToMark());
    case kDictOp: {
      TRY(std::vector<PickleId> items, PopToMark());
      TRY_VOID(Push({.kind = PickleKind::kDict}));
      return Extend(PickleKind::kDict, std::move(items));
    }
    case kAppend:
      return Extend(PickleKind::kList, PopSome(1));
    case kAppends:
      return Extend(PickleKind::kList, PopToMark());
    case kAddItems:
      return Extend(PickleKind::kSet, PopToMark());
    case kSetItem:
      return Extend(PickleKind::kDict, PopSome(2));
    case kSetItems:
      return Extend(PickleKind::kDict, PopToMark());
    default:
      return StepMemo(op);
  }
}

Status Machine::StepMemo(uint8_t op) {
  switch (op) {
    case kMark:
      marks_.push_back(stack_.size());
      return {};
    case kPop: {
      // Above a mark with nothing on it, the mark itself goes.
      if (!marks_.empty() && stack_.size() == marks_.back()) {
        marks_.pop_back();
        return {};
      }
      TRY_VOID(Pop());
      return {};
    }
    case kPopMark: {
      TRY_VOID(PopToMark());
      return {};
    }
    case kDup: {
      TRY_VOID(Top());
      stack_.push_back(stack_.back());
      return {};
    }
    case kMemoize:
      return Remember(memo_.size());
    case kBinPut:
    case kLongBinPut: {
      TRY(const uint64_t key, Number(op == kBinPut ? 1 : 4));
      return Remember(key);
    }
    case kBinGet:
    case kLongBinGet: {
      TRY(const uint64_t key, Number(op == kBinGet ? 1 : 4));
      return Recall(key);
    }
    case kProto: {
      TRY(const uint64_t protocol, Number(1));
      if (protocol < 2 || protocol > 5) {
        return Unsupported("the pickle has protocol " + std::to_string(protocol) +
                           ", 2 to 5 are read");
      }
      return {};
    }
    case kFrame: {
      TRY_VOID(Number(8));  // a hint for readers of streams
      return {};
    }
    default:
      return Unsupported("the pickle uses opcode " + std::to_string(op) + " at byte " +
                         std::to_string(opcode_at_) + ", which no state dictionary has");
  }
}

}  // namespace

Result<Pickle> ReadPickle(std::span<const std::byte> bytes, bool (*may_use)(std::string_view)) {
  return Machine(bytes, may_use).Run();
}

}  // namespace thimble
