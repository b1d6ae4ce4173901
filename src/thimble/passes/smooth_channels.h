// Moves the size of outlier channels from activations into the weights that read them (SmoothQuant; Xiao et al. 2023,
// equation 4):
//
//   y = (x diag(s)^-1) (diag(s) W^T),   s_j = max|x_j|^strength / max|W_j|^(1 - strength)
//
// 1 / s goes into what makes the channel: rows of a linear and its bias, gain and bias of a norm or affine, columns of a
// table. It passes through additions, affines, ReLU, pooling and the values of an attention, so that the whole residual
// stream of a MobileBERT, which has no norm that would stop it, is one such change of units. What ends in a LayerNorm, a
// product of queries and keys, a trigram or any other activation stays, and so do weights that several nodes share.
// An output of the graph that is made smaller gets an affine that makes up for it.
//
// Every s is a power of two: the float model computes the same bits as before, unless it leaves the range of float32.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"

namespace thimble {

struct Smoothed {
  Graph graph;
  size_t streams = 0;   // sets of values that were scaled alike
  size_t channels = 0;  // of all of them, those with s other than 1
};

// `largest`: per value of the graph the largest magnitude of each channel, empty where nothing is known: at least the
// values that linears read. `strength` in [0, 1]: the share that weights take over.
Result<Smoothed> SmoothChannels(const Graph& graph, std::span<const std::vector<float>> largest,
                                double strength);

}  // namespace thimble
