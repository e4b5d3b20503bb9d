#include "hermes_shm/platform/topology.h"

#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "hermes_shm/memory/allocator/auto_units.h"
#include "support/catch.h"

namespace {

using hshm::DiscoverTopology;
using hshm::NodeSet;
using hshm::Topology;

/** Sets an environment variable for one test. */
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~ScopedEnv() { unsetenv(name_); }
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("DiscoverTopology finds this machine and where the process may run") {
  const Topology topology = DiscoverTopology();
  CHECK_FALSE(topology.is_simulated_);
  CHECK(topology.node_count_ >= 1);
  REQUIRE(topology.usable_nodes_.Count() >= 1);
  CHECK(topology.usable_nodes_.Nth(0) < topology.node_count_);
}

TEST_CASE("DiscoverTopology shows a process bound to one CPU one usable node") {
  cpu_set_t former;
  REQUIRE(sched_getaffinity(0, sizeof(former), &former) == 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &former)) ++cpu;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0);
  const Topology topology = DiscoverTopology();
  REQUIRE(sched_setaffinity(0, sizeof(former), &former) == 0);
  CHECK(topology.usable_nodes_.Count() == 1);
}

#if HSHM_HAVE_HWLOC

namespace {

/** Two nodes with two CPUs each, as hwloc 2 writes them. */
constexpr const char* kTwoNodes = R"(<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
  <object type="Machine" os_index="0" cpuset="0xf" complete_cpuset="0xf" allowed_cpuset="0xf"
          nodeset="0x3" complete_nodeset="0x3" allowed_nodeset="0x3" gp_index="1">
    <object type="Group" cpuset="0x3" complete_cpuset="0x3" nodeset="0x1" complete_nodeset="0x1"
            gp_index="2" kind="1001" subkind="0">
      <object type="NUMANode" os_index="0" cpuset="0x3" complete_cpuset="0x3" nodeset="0x1"
              complete_nodeset="0x1" gp_index="3" local_memory="1073741824"/>
      <object type="PU" os_index="0" cpuset="0x1" complete_cpuset="0x1" nodeset="0x1"
              complete_nodeset="0x1" gp_index="4"/>
      <object type="PU" os_index="1" cpuset="0x2" complete_cpuset="0x2" nodeset="0x1"
              complete_nodeset="0x1" gp_index="5"/>
    </object>
    <object type="Group" cpuset="0xc" complete_cpuset="0xc" nodeset="0x2" complete_nodeset="0x2"
            gp_index="6" kind="1001" subkind="0">
      <object type="NUMANode" os_index="1" cpuset="0xc" complete_cpuset="0xc" nodeset="0x2"
              complete_nodeset="0x2" gp_index="7" local_memory="1073741824"/>
      <object type="PU" os_index="2" cpuset="0x4" complete_cpuset="0x4" nodeset="0x2"
              complete_nodeset="0x2" gp_index="8"/>
      <object type="PU" os_index="3" cpuset="0x8" complete_cpuset="0x8" nodeset="0x2"
              complete_nodeset="0x2" gp_index="9"/>
    </object>
  </object>
</topology>
)";

/** A file that goes away with the test. */
class XmlFile {
 public:
  explicit XmlFile(const std::string& text) {
    char path[] = "/tmp/hshm_topology_XXXXXX";
    const int descriptor = mkstemp(path);
    REQUIRE(descriptor >= 0);
    close(descriptor);
    path_ = path;
    std::ofstream(path_) << text;
  }
  ~XmlFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

TEST_CASE("A synthetic machine of 4 nodes gives 8 ranks two a node") {
  const ScopedEnv env("HWLOC_SYNTHETIC", "node:4 core:2 pu:1");
  const Topology topology = DiscoverTopology();
  CHECK(topology.is_simulated_);
  REQUIRE(topology.node_count_ == 4);
  REQUIRE(topology.usable_nodes_.Count() == 4);

  const std::vector<NodeSet> usable(8, topology.usable_nodes_);
  hshm::ipc::UnitRequest request;
  request.region_bytes_ = uint64_t{1} << 30;
  request.node_count_ = topology.node_count_;
  request.usable_nodes_ = usable;
  std::vector<uint32_t> ranks_on_node(4);
  for (uint32_t rank = 0; rank < 8; ++rank) {
    request.local_rank_ = rank;
    ++ranks_on_node[hshm::ipc::AutoUnits(request).node_];
  }
  CHECK(ranks_on_node == std::vector<uint32_t>{2, 2, 2, 2});
}

TEST_CASE("Two kinds of memory beside the same CPUs are one node") {
  const ScopedEnv env("HWLOC_SYNTHETIC", "pack:2 [numa] [numa] core:2 pu:1");
  CHECK(DiscoverTopology().node_count_ == 2);
}

TEST_CASE("A machine from an XML file is simulated and may be used everywhere") {
  const XmlFile file(kTwoNodes);
  const ScopedEnv env("HWLOC_XMLFILE", file.path());
  const Topology topology = DiscoverTopology();
  CHECK(topology.is_simulated_);
  CHECK(topology.node_count_ == 2);
  CHECK(topology.usable_nodes_.Count() == 2);
}

TEST_CASE("Memory without CPUs of its own is no node") {
  const ScopedEnv env("HWLOC_SYNTHETIC", "[numa] pack:2 [numa] core:2 pu:1");
  CHECK(DiscoverTopology().node_count_ == 2);
}

#endif  // HSHM_HAVE_HWLOC
