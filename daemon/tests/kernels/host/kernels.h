// All kernels, compiled for the host, where `host::entries` knows them by name.
#pragma once

#define PROOFLOAD_HOST
#include "prelude.cuh"

// One namespace a file, as one program a file on a GPU.
// clang-format off
namespace elementwise {
#include "activation.cuh"
#include "elementwise.cu"
}
namespace movement {
#include "movement.cu"
}
namespace normalize {
#include "normalize.cu"
}
namespace reduce {
#include "reduce.cu"
}
namespace pool {
#include "pool.cu"
}
namespace resize {
#include "resize.cu"
}
namespace convert {
#include "convert.cu"
}
namespace product {
#include "product.cu"
}
namespace picture {
#include "picture.cu"
}
namespace height {
#include "height.cu"
}
namespace mesh {
#include "mesh.cu"
}
// clang-format on
