// A TensorFlow op in C++: `MovingAverage`, exponential smoothing along the last axis,
//
//   y[0] = x[0],   y[t] = decay * y[t - 1] + (1 - decay) * x[t]
//
// which needs a loop with TensorFlow's own ops. scripts/build_custom_op compiles it against the headers of the pip package;
// docs/op_libraries.md explains it. Such a library works only with the release of TensorFlow that it was built for.

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tf_persist_example {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

REGISTER_OP("MovingAverage")
    .Attr("T: {float, double}")
    .Attr("decay: float = 0.9")
    .Input("x: T")
    .Output("y: T")
    .SetShapeFn([](::tensorflow::shape_inference::InferenceContext* c) {
      ::tensorflow::shape_inference::ShapeHandle x;
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(0), 1, &x));
      c->set_output(0, x);
      return absl::OkStatus();
    })
    .Doc("Exponential smoothing along the last axis.");

template <typename T>
class MovingAverageOp : public OpKernel {
 public:
  explicit MovingAverageOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("decay", &decay_));
    OP_REQUIRES(construction, decay_ >= 0.0f && decay_ <= 1.0f,
                absl::InvalidArgumentError("decay must be between 0 and 1"));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    OP_REQUIRES(context, x.dims() >= 1, absl::InvalidArgumentError("x must have an axis to go along"));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    const auto in = x.flat_inner_dims<T>();
    auto out = y->flat_inner_dims<T>();
    const T decay = static_cast<T>(decay_);
    for (int64_t row = 0; row < in.dimension(0); ++row) {
      T average = T(0);
      for (int64_t t = 0; t < in.dimension(1); ++t) {
        average = t == 0 ? in(row, t) : decay * average + (T(1) - decay) * in(row, t);
        out(row, t) = average;
      }
    }
  }

 private:
  float decay_;
};

REGISTER_KERNEL_BUILDER(Name("MovingAverage").Device(::tensorflow::DEVICE_CPU).TypeConstraint<float>("T"),
                        MovingAverageOp<float>);
REGISTER_KERNEL_BUILDER(Name("MovingAverage").Device(::tensorflow::DEVICE_CPU).TypeConstraint<double>("T"),
                        MovingAverageOp<double>);

// Without a shape function, like ops of old libraries; graphs that are built through the C API must allow this.
REGISTER_OP("LastOfMovingAverage").Attr("decay: float = 0.9").Input("x: float").Output("y: float");

class LastOfMovingAverageOp : public OpKernel {
 public:
  explicit LastOfMovingAverageOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("decay", &decay_));
  }

  void Compute(OpKernelContext* context) override {
    const auto in = context->input(0).flat<float>();
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &y));
    float average = 0.0f;
    for (int64_t t = 0; t < in.size(); ++t) {
      average = t == 0 ? in(t) : decay_ * average + (1.0f - decay_) * in(t);
    }
    y->scalar<float>()() = average;
  }

 private:
  float decay_;
};

REGISTER_KERNEL_BUILDER(Name("LastOfMovingAverage").Device(::tensorflow::DEVICE_CPU), LastOfMovingAverageOp);

}  // namespace tf_persist_example
