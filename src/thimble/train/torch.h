// The parts of libtorch that training uses: what versions 1.13 and 2.x share. Everything of ours that
// touches libtorch includes it through here; it is precompiled.
#pragma once

// First: in C++20 clang wants IValue to be complete before the lists of it that ATen.h begins with.
#include <ATen/core/ivalue.h>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>
