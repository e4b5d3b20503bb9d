/*
 * The two loops whose instructions are counted: `malloc_pair pair|random ITERATIONS`.
 *
 * pair    malloc(16), free: 11 instructions of a round are the loop's own
 * random  one of 10,000 blocks is replaced by one of 16 to 1024 bytes: 42 are the loop's own
 *
 * valgrind --tool=callgrind with two numbers of iterations, the difference divided by theirs, is
 * what a pair costs without the set-up. LD_PRELOAD chooses the library.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kLiveBlocks = 10000 };

static uint64_t Random(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void Pairs(long iterations) {
  for (long i = 0; i < iterations; ++i) {
    char* block = malloc(16);
    *(volatile char*)block = 1;
    free(block);
  }
}

static void RandomPairs(long iterations) {
  static char* blocks[kLiveBlocks];
  uint64_t state = 42;
  for (long i = 0; i < iterations; ++i) {
    const uint64_t random = Random(&state);
    char** block = &blocks[random % kLiveBlocks];
    free(*block);
    *block = malloc(16 + (random >> 32) % 1009);
    **(volatile char**)block = 1;
  }
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "malloc_pair pair|random ITERATIONS\n");
    return 2;
  }
  const long iterations = atol(argv[2]);
  if (strcmp(argv[1], "random") == 0) {
    RandomPairs(iterations);
  } else {
    Pairs(iterations);
  }
  return 0;
}
