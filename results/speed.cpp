// Simulates messages on a torus in SimGrid: speed platform.xml [--cfg=…] < messages
// Each line of input is one message: step source destination bytes. A rank starts its next step when
// the messages that it sends and receives in this step have arrived. Prints the simulated seconds.
#include <cstdint>
#include <iostream>
#include <map>
#include <simgrid/s4u.hpp>
#include <string>
#include <vector>

namespace sg4 = simgrid::s4u;

struct Message {
  long number;
  bool sends;
  std::uint64_t nbytes;
};
using Steps = std::map<int, std::vector<Message>>;

static void rank(const Steps& steps) {
  static char content;
  std::vector<void*> received(64);
  for (const auto& [step, messages] : steps) {
    std::vector<sg4::CommPtr> waiting;
    received.resize(messages.size());
    for (size_t i = 0; i < messages.size(); i++) {
      auto* box = sg4::Mailbox::by_name(std::to_string(messages[i].number));
      waiting.push_back(messages[i].sends ? box->put_async(&content, messages[i].nbytes)
                                          : box->get_async<void>(&received[i]));
    }
    sg4::Comm::wait_all(waiting);
  }
}

int main(int argc, char* argv[]) {
  sg4::Engine engine(&argc, argv);
  engine.load_platform(argv[1]);
  std::map<int, Steps> ranks;
  int step, src, dst;
  std::uint64_t nbytes;
  for (long number = 0; std::cin >> step >> src >> dst >> nbytes; number++) {
    ranks[src][step].push_back({number, true, nbytes});
    ranks[dst][step].push_back({number, false, nbytes});
  }
  for (const auto& [number, steps] : ranks)
    sg4::Actor::create("rank", engine.host_by_name("n" + std::to_string(number)),
                       [&steps = steps] { rank(steps); });
  engine.run();
  std::cout.precision(12);
  std::cout << sg4::Engine::get_clock() << std::endl;
}
