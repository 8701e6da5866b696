/* connect: the floor of any prober of TCP. It opens connections at an even rate, to one address of the loopback
 * interface after the other, waits until each stands, and resets it. It judges nothing and keeps no time of any.
 * usage: connect PORT ADDRESSES SECONDS; prints connections and processor seconds
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STEP_NS 1000000LL
#define EVENTS 256

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void open_one(int epoll, int port, uint32_t nth)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f010000 + nth)};
    struct linger reset = {.l_onoff = 1};
    struct epoll_event wish = {.events = EPOLLOUT};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    wish.data.fd = fd;
    if ((connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wish))
        close(fd);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    struct rusage used;
    int epoll = epoll_create1(0), port, addresses, seconds;
    int64_t begun = 0, ended = 0, start = now(), end;
    if (argc != 4) {
        fprintf(stderr, "usage: connect PORT ADDRESSES SECONDS\n");
        return 2;
    }
    port = atoi(argv[1]), addresses = atoi(argv[2]), seconds = atoi(argv[3]);
    end = start + seconds * 1000000000LL;
    for (int64_t at = start; at < end; at = now()) {
        struct timespec step = {.tv_nsec = STEP_NS};
        for (int64_t due = (at - start) / 1000 * addresses / 1000000; begun < due; begun++)
            open_one(epoll, port, (uint32_t)(begun % addresses));
        for (int ready; (ready = epoll_wait(epoll, events, EVENTS, 0)) > 0; ended += ready)
            for (int i = 0; i < ready; i++)
                close(events[i].data.fd);
        nanosleep(&step, NULL);
    }
    getrusage(RUSAGE_SELF, &used);
    printf("%lld %f\n", (long long)ended,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
