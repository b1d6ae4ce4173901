// The parts of libtorch that training uses: what versions 1.13 and 2.x share. Everything of ours that
// touches libtorch includes it through here; it is precompiled.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>
