/* accept: what is probed. It listens on a free port of every loopback address, accepts, and closes. At SIGTERM it
 * prints how many connections came in each slot of 10 ms of the monotonic clock: lines of SLOT COUNT.
 * usage: accept; the first line printed is the port
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOT_NS 10000000LL
#define SLOTS 60000 /* ten minutes */
#define BACKLOG 65535

static uint32_t counts[SLOTS];
static int64_t first;
static volatile sig_atomic_t is_over;

static int64_t slot_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec * 1000000000LL + now.tv_nsec) / SLOT_NS;
}

static void end(int signal)
{
    (void)signal;
    is_over = 1;
}

int main(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    struct sigaction action = {.sa_handler = end};
    socklen_t length = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) || listen(fd, BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&here, &length)) {
        perror("accept");
        return 1;
    }
    sigaction(SIGTERM, &action, NULL); /* no SA_RESTART: it ends accept() */
    first = slot_now();
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    while (!is_over) {
        int peer = accept(fd, NULL, NULL);
        int64_t slot = slot_now() - first;
        if (peer < 0)
            continue;
        close(peer);
        if (slot < SLOTS)
            counts[slot]++;
    }
    for (int64_t slot = 0; slot < SLOTS; slot++)
        if (counts[slot])
            printf("%lld %u\n", (long long)(first + slot), counts[slot]);
    return 0;
}
