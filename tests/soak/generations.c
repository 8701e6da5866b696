/* Sends queries at a constant rate and checks that each reply has the records of one generation.
 *
 *   generations ADDRESS PORT QUERIES_A_SECOND NAME
 *
 * The A records of NAME have to be 10.X.Y.Z, where X and Y are the number of the generation. Sends until standard input is
 * closed. Then it waits for what is outstanding and prints a line of JSON: queries sent, replies, queries without a reply
 * after two seconds, replies with records of two generations, replies without records, and the generations that were seen. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Each has a port of its own, so that the kernel spreads them over the sockets of the server. */
enum { SOCKETS = 8, MOST_AT_ONCE = 64, LOST_AFTER_MS = 2000, MOST_OCTETS = 1500 };

static unsigned char query[512];
static int query_octets, question_octets;
static int sockets[SOCKETS];
/* When each id of each socket was sent, in milliseconds; 0: it is not outstanding. */
static uint32_t sent_at[SOCKETS][65536];
static uint16_t next_id[SOCKETS];
static unsigned char seen[65536];
static uint64_t sent, replies, lost, mixed, empty, unsent;

static uint32_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)(t.tv_sec * 1000 + t.tv_nsec / 1000000) + 1;
}

static void make_query(const char *name) {
    unsigned char *at = query + 12;
    memset(query, 0, sizeof query);
    query[5] = 1;
    while (*name && *name != '.') {
        size_t label = strcspn(name, ".");
        *at++ = (unsigned char)label;
        memcpy(at, name, label);
        at += label;
        name += label + (name[label] == '.');
    }
    *at++ = 0;
    memcpy(at, "\0\1\0\1", 4);
    query_octets = (int)(at + 4 - query);
    question_octets = query_octets - 12;
}

/* Counts one reply. Its owners are compressed to two octets, and it has no other sections. */
static void take(int s, const unsigned char *reply, int octets) {
    if (octets < 12 + question_octets) return;
    uint16_t id = (uint16_t)(reply[0] << 8 | reply[1]);
    if (!sent_at[s][id]) return;
    sent_at[s][id] = 0;
    replies++;
    int count = reply[6] << 8 | reply[7], generation = -1;
    const unsigned char *at = reply + 12 + question_octets;
    if (count == 0 || (reply[3] & 15)) empty++;
    for (; count > 0 && at + 16 <= reply + octets; count--, at += 16) {
        int of = at[13] << 8 | at[14];
        if (generation >= 0 && of != generation) {
            mixed++;
            return;
        }
        generation = of;
        seen[of] = 1;
    }
}

static void receive(int s) {
    unsigned char reply[MOST_OCTETS];
    ssize_t octets;
    while ((octets = recv(sockets[s], reply, sizeof reply, MSG_DONTWAIT)) > 0) take(s, reply, (int)octets);
}

static void send_some(int s, int count) {
    for (; count > 0; count--) {
        uint16_t id = next_id[s]++;
        if (sent_at[s][id]) {
            /* Two seconds are over for it, at any rate that this program is made for. */
            lost++;
        }
        query[0] = (unsigned char)(id >> 8);
        query[1] = (unsigned char)id;
        sent_at[s][id] = now_ms();
        if (send(sockets[s], query, (size_t)query_octets, MSG_DONTWAIT) == query_octets) {
            sent++;
        } else {
            sent_at[s][id] = 0;
            unsent++;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    double rate = atof(argv[3]) / 1000;
    make_query(argv[4]);
    for (int s = 0; s < SOCKETS; s++) {
        int room = 4 << 20;
        sockets[s] = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(sockets[s], SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        if (connect(sockets[s], (struct sockaddr *)&server, sizeof server)) return 1;
    }
    uint32_t began = now_ms(), last = 0;
    double due = 0;
    int turn = 0, is_sending = 1;
    puts("begun");
    fflush(stdout);
    while (is_sending || now_ms() - last < LOST_AFTER_MS) {
        struct pollfd wait[SOCKETS + 1];
        for (int s = 0; s < SOCKETS; s++) wait[s] = (struct pollfd){.fd = sockets[s], .events = POLLIN};
        wait[SOCKETS] = (struct pollfd){.fd = is_sending ? 0 : -1, .events = POLLIN};
        poll(wait, SOCKETS + 1, 1);
        for (int s = 0; s < SOCKETS; s++)
            if (wait[s].revents) receive(s);
        char octet;
        if (is_sending && wait[SOCKETS].revents && read(0, &octet, 1) <= 0) {
            is_sending = 0;
            last = now_ms();
        }
        if (!is_sending) continue;
        /* After a pause of this program the rest is sent gradually. */
        due = rate * (now_ms() - began) - (double)(sent + unsent);
        int count = due > MOST_AT_ONCE ? MOST_AT_ONCE : (int)due;
        if (count > 0) send_some(turn++ % SOCKETS, count);
    }
    int generations = 0;
    for (int s = 0; s < SOCKETS; s++)
        for (int id = 0; id < 65536; id++) lost += sent_at[s][id] != 0;
    for (int of = 0; of < 65536; of++) generations += seen[of];
    printf("{\"sent\": %llu, \"replies\": %llu, \"lost\": %llu, \"mixed\": %llu, \"empty\": %llu, \"unsent\": %llu, \"generations\": %d, "
           "\"seconds\": %.1f}\n",
           (unsigned long long)sent, (unsigned long long)replies, (unsigned long long)lost, (unsigned long long)mixed,
           (unsigned long long)empty, (unsigned long long)unsent, generations, (last - began) / 1000.0);
    return 0;
}
