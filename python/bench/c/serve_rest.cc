// What a server costs at the least: TensorFlow Serving's predict of one float32 input and one float32 output, written plainly over the
// C API. HTTP/1.1 with keep-alive, a thread for each connection, numbers by std::from_chars and std::to_chars, buffers that each
// connection keeps. No limits, no timeouts, no other routes; a request that is not as expected ends the connection.
// Usage: serve_rest MODEL PORT [INTRA_OP_THREADS]. Built by `scripts/bench serve`, which measures `tf-persist serve-local` against it.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <tensorflow/c/c_api.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

struct Model {
  TF_Session* session;
  TF_Output feed;
  TF_Output fetch;
};

// Nested lists, read from the text of a request.
struct Lists {
  std::vector<float> values;
  std::vector<int64_t> shape;
};

bool fail(TF_Status* status, const char* what) {
  if (TF_GetCode(status) == TF_OK) return false;
  std::fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  return true;
}

// A ConfigProto with inter_op_parallelism_threads (field 5) of -1, so that the calling thread runs the graph, and
// intra_op_parallelism_threads (field 2) as asked for; 0 is TensorFlow's default, one a core.
std::string config(int intra) {
  std::string bytes("\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
  if (intra > 0) bytes += {'\x10', static_cast<char>(intra)};
  return bytes;
}

bool load(const char* path, int intra, Model* model) {
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  std::string bytes = config(intra);
  TF_SetConfig(options, bytes.data(), bytes.size(), status);
  if (fail(status, "TF_SetConfig")) return false;
  const char* tags[] = {"serve"};
  model->session = TF_LoadSessionFromSavedModel(options, nullptr, path, tags, 1, graph, nullptr, status);
  if (fail(status, path)) return false;
  model->feed = {TF_GraphOperationByName(graph, "serving_default_x"), 0};
  model->fetch = {TF_GraphOperationByName(graph, "StatefulPartitionedCall"), 0};
  if (!model->feed.oper || !model->fetch.oper) {
    model->fetch.oper = TF_GraphOperationByName(graph, "PartitionedCall");
  }
  if (!model->feed.oper || !model->fetch.oper) return std::fprintf(stderr, "not a model of this benchmark\n"), false;
  return true;
}

// {"instances": [...]}: the lists in it. Every list of a level must have the size of the first one.
bool read_lists(const char* at, const char* end, Lists* lists) {
  lists->values.clear();
  lists->shape.clear();
  static constexpr std::string_view kName = "\"instances\"";
  at = std::search(at, end, kName.begin(), kName.end());
  if (at == end) return false;
  at += kName.size();
  auto skip = [&] {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  };
  skip();
  if (at == end || *at++ != ':') return false;
  int64_t counts[8] = {};
  size_t depth = 0, rank = 0;
  for (;;) {
    skip();
    if (at == end) return false;
    if (*at == '[') {
      if (depth == 8) return false;
      counts[depth++] = 0;
      ++at;
      continue;
    }
    if (rank == 0) {
      rank = depth;
      lists->shape.assign(rank, -1);
    }
    float value;
    auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || depth != rank) return false;
    lists->values.push_back(value);
    at = next;
    for (;;) {
      ++counts[depth - 1];
      skip();
      if (at == end) return false;
      if (*at == ',') {
        ++at;
        break;
      }
      if (*at++ != ']') return false;
      int64_t& size = lists->shape[--depth];
      if (size == -1) size = counts[depth];
      if (size != counts[depth]) return false;
      if (depth == 0) return true;
    }
  }
}

void append(std::string* text, float value) {
  char digits[32];
  auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  (void)error;
  text->append(digits, end);
}

// {"predictions": [...]}
void write_lists(const float* values, const std::vector<int64_t>& shape, size_t level, std::string* text, size_t* next) {
  if (level == shape.size()) return append(text, values[(*next)++]);
  text->push_back('[');
  for (int64_t index = 0; index < shape[level]; ++index) {
    if (index > 0) text->push_back(',');
    write_lists(values, shape, level + 1, text, next);
  }
  text->push_back(']');
}

bool predict(const Model& model, const Lists& lists, TF_Status* status, std::string* text) {
  size_t bytes = lists.values.size() * sizeof(float);
  TF_Tensor* input = TF_AllocateTensor(TF_FLOAT, lists.shape.data(), lists.shape.size(), bytes);
  std::memcpy(TF_TensorData(input), lists.values.data(), bytes);
  TF_Tensor* output = nullptr;
  TF_SessionRun(model.session, nullptr, &model.feed, &input, 1, &model.fetch, &output, 1, nullptr, 0, nullptr, status);
  TF_DeleteTensor(input);
  if (fail(status, "TF_SessionRun")) return false;
  std::vector<int64_t> shape(TF_NumDims(output));
  for (size_t level = 0; level < shape.size(); ++level) shape[level] = TF_Dim(output, level);
  text->assign("{\"predictions\": ");
  size_t next = 0;
  write_lists(static_cast<const float*>(TF_TensorData(output)), shape, 0, text, &next);
  text->append("}");
  TF_DeleteTensor(output);
  return true;
}

bool send_all(int socket, const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    ssize_t count = send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += count;
  }
  return true;
}

size_t content_length(std::string_view head) {
  static constexpr std::string_view kName = "\r\ncontent-length:";
  for (size_t at = 0; at + kName.size() <= head.size(); ++at) {
    if (strncasecmp(head.data() + at, kName.data(), kName.size()) != 0) continue;
    at += kName.size();
    while (head[at] == ' ') ++at;
    size_t length = 0;
    std::from_chars(head.data() + at, head.data() + head.size(), length);
    return length;
  }
  return 0;
}

void serve(const Model* model, int socket) {
  TF_Status* status = TF_NewStatus();
  std::vector<char> buffer(64 << 10);
  size_t filled = 0;
  Lists lists;
  std::string body, answer;
  for (;;) {
    // The head, and with it how long the body is.
    size_t head = std::string_view::npos, wanted = 0;
    while (head == std::string_view::npos || filled < wanted) {
      if (head == std::string_view::npos) {
        head = std::string_view(buffer.data(), filled).find("\r\n\r\n");
        if (head != std::string_view::npos) {
          wanted = head + 4 + content_length({buffer.data(), head + 2});
          if (buffer.size() < wanted) buffer.resize(wanted);
          continue;
        }
        if (filled == buffer.size()) buffer.resize(2 * buffer.size());
      }
      ssize_t count = recv(socket, buffer.data() + filled, buffer.size() - filled, 0);
      if (count <= 0) goto over;
      filled += count;
    }
    if (!read_lists(buffer.data() + head + 4, buffer.data() + wanted, &lists)) break;
    if (!predict(*model, lists, status, &body)) break;
    answer.assign("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ");
    answer.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
    if (!send_all(socket, answer)) break;
    std::memmove(buffer.data(), buffer.data() + wanted, filled - wanted);
    filled -= wanted;
  }
over:
  TF_DeleteStatus(status);
  close(socket);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: serve_rest MODEL PORT [INTRA_OP_THREADS]\n"), 2;
  Model model;
  if (!load(argv[1], argc > 3 ? std::atoi(argv[3]) : 0, &model)) return 1;
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(std::atoi(argv[2]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 128) != 0) {
    return std::perror("serve_rest"), 1;
  }
  for (;;) {
    int socket = accept(listener, nullptr, nullptr);
    if (socket < 0) continue;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread(serve, &model, socket).detach();
  }
}
