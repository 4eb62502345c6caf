/* What a run costs at the least: opens a SavedModel with TensorFlow's C API, runs it once, prints the answer.
 * Usage: run_half_plus_two MODEL. Built and timed by `scripts/bench process` against `tf-persist run`. */
#include <stdio.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

static void release(void* data, size_t length, void* argument) {
  (void)data, (void)length, (void)argument;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  if (TF_GetCode(status) != TF_OK) return fprintf(stderr, "%s\n", TF_Message(status)), 1;
  float x[3] = {1, 2, 3};
  int64_t shape[1] = {3};
  TF_Tensor* input = TF_NewTensor(TF_FLOAT, shape, 1, x, sizeof x, release, NULL);
  TF_Output feed = {TF_GraphOperationByName(graph, "serving_default_x"), 0};
  TF_Output fetch = {TF_GraphOperationByName(graph, "StatefulPartitionedCall"), 0};
  if (!feed.oper || !fetch.oper) return fprintf(stderr, "not the model half_plus_two\n"), 1;
  TF_Tensor* output = NULL;
  TF_SessionRun(session, NULL, &feed, &input, 1, &fetch, &output, 1, NULL, 0, NULL, status);
  if (TF_GetCode(status) != TF_OK) return fprintf(stderr, "%s\n", TF_Message(status)), 1;
  const float* y = TF_TensorData(output);
  printf("%g %g %g\n", y[0], y[1], y[2]);
  return 0;
}
