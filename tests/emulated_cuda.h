// CUDA C++ for a C++ compiler: what CuPy's kernels take of it. The threads of a block run one after the other, each as
// far as the next barrier. See emulated_cuda.py.
#pragma once
#define __CUDACC_VER_MAJOR__ 12
#define __CUDACC_VER_MINOR__ 8
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __host__
#define __device__
#define __global__
#define __constant__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

using std::abs; using std::isnan; using std::isinf; using std::isfinite; using std::signbit;

struct Place { unsigned x, y, z; };
static Place threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

namespace emulated {

enum State { WAITS, DONE };
static std::vector<ucontext_t> threads;
static std::vector<char*> stacks;
static std::vector<State> states;
static std::vector<long long> given;
static ucontext_t scheduler;
static int now;
static void (*body)(void**);
static void** parameters;

static void wait() { int me = now; states[me] = WAITS; swapcontext(&threads[me], &scheduler); }

static void thread() { body(parameters); states[now] = DONE; swapcontext(&threads[now], &scheduler); }

static void go_to(int t) {
  now = t;
  threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
}

static void run_block(int size, bool waits) {
  if (!waits) {
    for (int t = 0; t < size; t++) { go_to(t); body(parameters); }
    return;
  }
  const int stack = 1 << 16;
  threads.resize(size); states.assign(size, WAITS); given.resize(size);
  while ((int)stacks.size() < size) stacks.push_back(new char[stack]);
  for (int t = 0; t < size; t++) {
    getcontext(&threads[t]);
    threads[t].uc_stack.ss_sp = stacks[t];
    threads[t].uc_stack.ss_size = stack;
    makecontext(&threads[t], thread, 0);
  }
  for (bool goes_on = true; goes_on;) {
    goes_on = false;
    for (int t = 0; t < size; t++)
      if (states[t] != DONE) { go_to(t); swapcontext(&scheduler, &threads[t]); goes_on |= states[t] != DONE; }
  }
}

static void run(Place grid, Place block, void** given_parameters, bool waits, void (*kernel)(void**)) {
  body = kernel; parameters = given_parameters; gridDim = grid; blockDim = block;
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) { blockIdx = {x, y, z}; run_block(block.x * block.y * block.z, waits); }
}

template<class... A> void call(void (*kernel)(A...), void** p) {
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    kernel(*(typename std::remove_reference<A>::type*)p[I]...);
  }(std::index_sequence_for<A...>());
}

template<class T> T of_thread(T x, int other) {
  static_assert(sizeof(T) <= 8);
  std::memcpy(&given[now], &x, sizeof(T));
  wait();
  T found;
  std::memcpy(&found, &given[other], sizeof(T));
  wait();
  return found;
}

}  // namespace emulated

inline void __syncthreads() { emulated::wait(); }
inline void __syncwarp(unsigned = 0) { emulated::wait(); }
inline void __threadfence() {}
template<class T> T __shfl_xor_sync(unsigned, T x, int mask, int = 32) { return emulated::of_thread(x, emulated::now ^ mask); }
template<class T> T __shfl_up_sync(unsigned, T x, int by, int width = 32) {
  int me = emulated::now;
  return emulated::of_thread(x, me % width >= by ? me - by : me);
}
template<class T> T __shfl_down_sync(unsigned, T x, int by, int width = 32) {
  int me = emulated::now;
  return emulated::of_thread(x, me % width + by < width ? me + by : me);
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }

template<class To, class From> To as_bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To found;
  std::memcpy(&found, &x, sizeof(To));
  return found;
}
inline float __int_as_float(int x) { return as_bits<float>(x); }
inline int __float_as_int(float x) { return as_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return as_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return as_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return as_bits<double>(x); }
inline long long __double_as_longlong(double x) { return as_bits<long long>(x); }
inline int __double2hiint(double x) { return (int)(__double_as_longlong(x) >> 32); }
inline int __double2loint(double x) { return (int)__double_as_longlong(x); }
inline double __hiloint2double(int high, int low) { return __longlong_as_double(((long long)high << 32) | (unsigned)low); }

template<class T> T atomicAdd(T* at, T x) { T old = *at; *at = old + x; return old; }
#define ATOMICS(T) \
  inline T atomicCAS(T* at, T expected, T x) { T old = *at; if (old == expected) *at = x; return old; } \
  inline T atomicExch(T* at, T x) { T old = *at; *at = x; return old; } \
  inline T atomicMax(T* at, T x) { T old = *at; if (x > old) *at = x; return old; } \
  inline T atomicMin(T* at, T x) { T old = *at; if (x < old) *at = x; return old; } \
  inline T atomicAnd(T* at, T x) { T old = *at; *at = old & x; return old; } \
  inline T atomicOr(T* at, T x) { T old = *at; *at = old | x; return old; } \
  inline T atomicXor(T* at, T x) { T old = *at; *at = old ^ x; return old; } \
  inline T atomicSub(T* at, T x) { T old = *at; *at = old - x; return old; }
ATOMICS(int) ATOMICS(unsigned) ATOMICS(unsigned long long)

template<class A, class B> using Number =
    typename std::enable_if<std::is_arithmetic<A>::value && std::is_arithmetic<B>::value, typename std::common_type<A, B>::type>::type;
template<class A, class B> Number<A, B> min(A a, B b) {
  typedef Number<A, B> T;
  if constexpr (std::is_floating_point<T>::value) return std::fmin((T)a, (T)b); else return (T)a < (T)b ? (T)a : (T)b;
}
template<class A, class B> Number<A, B> max(A a, B b) {
  typedef Number<A, B> T;
  if constexpr (std::is_floating_point<T>::value) return std::fmax((T)a, (T)b); else return (T)a > (T)b ? (T)a : (T)b;
}
using std::nextafter;
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline double sinpi(double x) { return std::sin(M_PIl * x); }
inline double cospi(double x) { return std::cos(M_PIl * x); }
inline double erfinv(double x) {
  if (x == 0) return x;
  if (!(x > -1 && x < 1)) return x == 1 ? INFINITY : x == -1 ? -INFINITY : NAN;
  double w = std::log((1 - x) * (1 + x)), t = 2 / (M_PIl * 0.147L) + w / 2;
  double y = std::copysign(std::sqrt(std::sqrt(t * t - w / 0.147) - t), x);
  for (int k = 0; k < 6; k++) y -= (std::erf(y) - x) / (2 / std::sqrt(M_PIl) * std::exp(-y * y));
  return y;
}
#undef M_PI
#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/float16.cuh>
#include <cupy/bfloat16.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>
