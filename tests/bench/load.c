/* load: asks a DNS server over UDP as fast as it answers, and no faster: each socket has a window of queries in
 * flight. Checks every reply and prints one line of JSON. Refuses targets outside 127.0.0.0/8.
 * usage: load [-e] ADDRESS PORT QUERIES SECONDS     QUERIES is a file of lines "NAME TYPE"
 *        -e: each query has EDNS client subnet of a random IPv4 /24; without, plain EDNS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PREPARED 16384           /* queries made beforehand, asked in turn */
#define SOCKETS 8
#define WINDOW 24                /* in flight on one socket */
#define QUERY_ROOM 320
#define REPLY_ROOM 4096
#define LOST_NS 200000000ull     /* a window that stands still so long is counted as lost */

static uint8_t queries[PREPARED][QUERY_ROOM];
static int lengths[PREPARED];
static uint64_t seed = 88172645463325252ull;

struct asker {
    int fd, in_flight;
    uint8_t is_asked[WINDOW];    /* by message id */
    uint64_t heard_at;
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t chance(void) /* xorshift64 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int build(uint8_t *query, const char *name, const char *type, int with_subnet)
{
    int at = 12, code = strcmp(type, "AAAA") ? 1 : 28;
    memset(query, 0, 12);
    query[5] = 1;
    query[11] = 1;
    while (*name) {
        int length = (int)strcspn(name, ".");
        if (length < 1 || length > 63 || at + length + 40 > QUERY_ROOM)
            return -1;
        query[at++] = (uint8_t)length;
        memcpy(query + at, name, (size_t)length);
        at += length;
        name += length + (name[length] == '.');
    }
    uint8_t rest[] = {0, 0, (uint8_t)code, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, with_subnet ? 11 : 0};
    memcpy(query + at, rest, sizeof rest);
    at += (int)sizeof rest;
    if (with_subnet) {
        uint64_t r = chance();
        uint8_t subnet[] = {0, 8, 0, 7, 0, 1, 24, 0, (uint8_t)(1 + r % 120), (uint8_t)(r >> 16), (uint8_t)(r >> 32)};
        memcpy(query + at, subnet, sizeof subnet);
        at += (int)sizeof subnet;
    }
    return at;
}

static int prepare(const char *file, int with_subnet)
{
    static char names[PREPARED][256], types[PREPARED][8];
    int count = 0;
    FILE *in = fopen(file, "r");
    if (!in)
        return -1;
    while (count < PREPARED && fscanf(in, "%255s %7s", names[count], types[count]) == 2)
        count++;
    fclose(in);
    for (int i = 0; i < PREPARED && count; i++) {
        int pick = (int)(chance() % (uint64_t)count);
        if ((lengths[i] = build(queries[i], names[pick], types[pick], with_subnet)) < 0)
            return -1;
    }
    return count ? 0 : -1;
}

int main(int argc, char **argv)
{
    static uint8_t replies[WINDOW][REPLY_ROOM], sending[WINDOW][QUERY_ROOM];
    static struct mmsghdr in[WINDOW], out[WINDOW];
    static struct iovec in_parts[WINDOW], out_parts[WINDOW];
    struct asker askers[SOCKETS];
    struct pollfd polls[SOCKETS];
    struct sockaddr_in to = {.sin_family = AF_INET};
    int with_subnet = argc == 6 && !strcmp(argv[1], "-e");
    char **args = argv + (with_subnet ? 2 : 1);

    if (argc != 5 && !with_subnet) {
        fprintf(stderr, "usage: load [-e] ADDRESS PORT QUERIES SECONDS\n");
        return 2;
    }
    if (inet_pton(AF_INET, args[0], &to.sin_addr) != 1 || ntohl(to.sin_addr.s_addr) >> 24 != 127) {
        fprintf(stderr, "load: only addresses of 127.0.0.0/8\n");
        return 2;
    }
    to.sin_port = htons((uint16_t)atoi(args[1]));
    if (prepare(args[2], with_subnet)) {
        fprintf(stderr, "load: %s has no usable queries\n", args[2]);
        return 2;
    }
    for (int i = 0; i < SOCKETS; i++) {
        askers[i] = (struct asker){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), .heard_at = now()};
        if (connect(askers[i].fd, (void *)&to, sizeof to)) {
            perror("connect");
            return 1;
        }
        polls[i] = (struct pollfd){.fd = askers[i].fd, .events = POLLIN};
    }
    for (int i = 0; i < WINDOW; i++) {
        in_parts[i] = (struct iovec){replies[i], REPLY_ROOM};
        in[i].msg_hdr.msg_iov = &in_parts[i];
        out_parts[i].iov_base = sending[i];
        out[i].msg_hdr.msg_iov = &out_parts[i];
        in[i].msg_hdr.msg_iovlen = out[i].msg_hdr.msg_iovlen = 1;
    }

    uint64_t began = now(), time = began, end = began + (uint64_t)(atof(args[3]) * 1e9);
    uint64_t answered = 0, wrong = 0, lost = 0, next = chance();
    while (time < end) {
        int is_idle = 1;
        for (int i = 0; i < SOCKETS; i++) {
            struct asker *asker = &askers[i];
            int count = asker->in_flight ? recvmmsg(asker->fd, in, WINDOW, MSG_DONTWAIT, NULL) : 0;
            if (count > 0) {
                is_idle = 0;
                asker->heard_at = time = now();
            } else if (time - asker->heard_at > LOST_NS) {
                lost += (uint64_t)asker->in_flight;
                memset(asker->is_asked, 0, WINDOW);
                asker->in_flight = 0;
                asker->heard_at = time;
            }
            for (int k = 0; k < count; k++) {
                uint8_t *reply = replies[k];
                unsigned id = (unsigned)reply[0] << 8 | reply[1];
                if (in[k].msg_len < 12 || !(reply[2] & 0x80) || id >= WINDOW || !asker->is_asked[id]) {
                    wrong++;
                    continue;
                }
                asker->is_asked[id] = 0;
                asker->in_flight--;
                answered++;
                if ((reply[3] & 15) || !(reply[6] | reply[7])) /* not NOERROR, or no answer */
                    wrong++;
            }
            int ready = 0, ids[WINDOW];
            for (int id = 0; id < WINDOW; id++) {
                if (asker->is_asked[id])
                    continue;
                uint64_t which = next++ % PREPARED;
                memcpy(sending[ready], queries[which], (size_t)lengths[which]);
                sending[ready][0] = 0;
                sending[ready][1] = (uint8_t)id;
                out_parts[ready].iov_len = (size_t)lengths[which];
                ids[ready++] = id;
            }
            int sent = ready ? sendmmsg(asker->fd, out, (unsigned)ready, 0) : 0;
            for (int k = 0; k < sent; k++)
                asker->is_asked[ids[k]] = 1;
            asker->in_flight += sent > 0 ? sent : 0;
        }
        if (is_idle) {
            poll(polls, SOCKETS, 20);
            time = now();
        }
    }
    printf("{\"answered\": %lu, \"wrong\": %lu, \"lost\": %lu, \"seconds\": %.3f}\n", answered, wrong, lost,
           (double)(now() - began) / 1e9);
    return 0;
}
