/*
 * Connections that the host makes: to ports that listen on every address, and from here to where it lets them lead.
 *
 * Each is the far end of a pair of sockets, and what the program sees is the near one.  What it writes waits there
 * for the host, and what the host gives waits for the program; bytes move when no thread runs, and when a turn is
 * over (network_look, network_move).
 *
 * Nothing of it is to be trusted.  The numbers of connections are chosen here, so the host cannot mix them up;
 * lengths are checked, results are errors that there are, and nobody from outside seems to be on 127.0.0.0/8.
 */
#include <netinet/in.h>
#include <sys/socket.h>
#include "linux.h"

#define LINKS 256
#define PORTS 16
#define READABLE 1
#define WRITABLE 2
#define OF_PORT 4
#define TOLD_MOST (PAGE / sizeof(struct told))
#define NO_MORE 1 /* of ASK_SHUT */
#define CLOSED 2
#define LISTENS 1 /* of ASK_LISTEN, beside the port */
#define LINGERS (10 * NS_PER_S)

/* What ASK_READY puts into the buffer. */
struct told {
    unsigned number, what;
};

/* Who has connected, from ASK_ACCEPT. */
struct peer {
    unsigned address, port;
};

struct link {
    struct file *end;    /* the far one; NULL: there is none yet */
    struct file *socket; /* that wants to be connected */
    struct socket_name remote;
    int used, reads, writes; /* reads, writes: the host may have or take something */
    int shut;                /* it was told that no more comes */
};

struct port {
    unsigned number; /* 0: none */
    int waits;       /* somebody may want to connect */
};

static struct link links[LINKS];
static struct port ports[PORTS];
static int uses; /* of both */

static word number_of(const struct link *link)
{
    return (word)(link - links);
}

static long asked(word question, word argument)
{
    long answer = monitor_ask(question, argument);
    return answer < -LAST_ERROR || answer > (long)PAGE || !answer ? -EIO : answer;
}

static struct link *new_link(void)
{
    for (struct link *link = links; link < links + LINKS; link++)
        if (!link->used) {
            *link = (struct link){.used = 1};
            uses++;
            return link;
        }
    return NULL;
}

static void drop(struct link *link)
{
    asked(ASK_SHUT, number_of(link) << 32 | CLOSED);
    if (link->end)
        file_release(link->end);
    link->used = 0;
    uses--;
}

/* ---- ports ---- */

static struct port *port_of(unsigned number)
{
    struct port *port = ports;
    while (port < ports + PORTS && port->number != number)
        port++;
    return port < ports + PORTS ? port : NULL;
}

void network_listen(unsigned number)
{
    struct port *port = port_of(0);
    if (!port || !console_is_served() || asked(ASK_LISTEN, number << 1 | LISTENS) != 1)
        return;
    *port = (struct port){number, 1};
    uses++;
}

void network_unlisten(unsigned number)
{
    struct port *port = port_of(number);
    if (!port)
        return;
    asked(ASK_LISTEN, number << 1);
    port->number = 0;
    uses--;
}

static struct socket_name name_of(unsigned address, unsigned port)
{
    struct socket_name name = {.family = AF_INET, .size = INET_SIZE};
    if (!address || address >> 24 == LOOPBACK || address == OWN_ADDRESS)
        address = HOST_ADDRESS;
    name_set_address(&name, address);
    name_set_port(&name, port);
    return name;
}

static void connect_ends(struct link *link, struct file *near, struct file *far, unsigned port)
{
    struct socket_name local = name_of(HOST_ADDRESS, port);
    name_set_address(&local, OWN_ADDRESS);
    *pair_names(near) = (struct pair_names){local, link->remote};
    *pair_names(far) = (struct pair_names){link->remote, local};
    link->end = far;
    link->reads = link->writes = 1;
}

/* One connection; 0 if there is none. */
static int accept_one(struct port *port)
{
    struct peer peer;
    struct file *ends[2];
    struct link *link = new_link();
    if (!link)
        return 0;
    if (asked(ASK_ACCEPT, number_of(link) << 16 | port->number) != 1) {
        link->used = port->waits = 0;
        uses--;
        return 0;
    }
    monitor_take((char *)&peer, sizeof peer);
    if (pair_new(ends, 0)) {
        drop(link);
        return 1;
    }
    link->remote = name_of(peer.address, peer.port);
    connect_ends(link, ends[0], ends[1], port->number);
    socket_offer(port->number, ends[0]);
    return 1;
}

/* ---- connections from here ---- */

long network_connect(struct file *socket, const struct socket_name *remote)
{
    if (!console_is_served())
        return -ENETUNREACH;
    struct link *link = new_link();
    if (!link)
        return -EAGAIN;
    link->socket = socket;
    link->remote = *remote;
    word to = (word)name_address(remote) << 16 | name_port(remote);
    long answer = asked(ASK_CONNECT, number_of(link) << 48 | to);
    if (answer == 1)
        return 0;
    link->used = 0;
    uses--;
    return answer < 0 ? answer : -EIO;
}

void network_forget(const struct file *socket)
{
    for (struct link *link = links; link < links + LINKS; link++)
        if (link->used && link->socket == socket)
            drop(link);
}

static void end_connecting(struct link *link)
{
    long answer = asked(ASK_CONNECTED, number_of(link));
    link->writes = 0;
    if (answer == -EAGAIN)
        return;
    struct file *near = link->socket, *far = answer == 1 ? socket_join(near, 0) : NULL;
    link->socket = NULL;
    if (far) {
        connect_ends(link, near, far, name_port(&pair_names(near)->local));
    } else {
        socket_fail(near, answer < 0 ? answer : -EIO);
        drop(link);
    }
}

/* ---- bytes ---- */

static void take_in(struct link *link)
{
    static char piece[PAGE];
    size_t room;
    while (link->reads && (room = pair_room(link->end))) {
        size_t most = room < PAGE ? room : PAGE;
        long got = monitor_ask(ASK_RECEIVE, number_of(link) << 32 | most);
        link->reads = got == (long)most;
        if (got > 0 && (size_t)got <= most) {
            monitor_take(piece, (word)got);
            pair_put(link->end, piece, (size_t)got);
        } else if (got != -EAGAIN) {
            pair_shut(link->end, got < 0, 1);
        }
    }
}

static void give_out(struct link *link)
{
    static char piece[PAGE];
    size_t size;
    while (link->writes && (size = pair_look(link->end, piece, PAGE))) {
        monitor_give(0, piece, size);
        long sent = monitor_ask(ASK_SEND, number_of(link) << 32 | size);
        link->writes = sent == (long)size;
        if (sent > 0 && (size_t)sent <= size)
            pair_skip(link->end, (size_t)sent);
        else if (sent != -EAGAIN)
            pair_shut(link->end, 1, 1);
    }
}

static int has_more(const struct link *link)
{
    char byte;
    return pair_look(link->end, &byte, 1) != 0;
}

static void move(struct link *link)
{
    take_in(link);
    give_out(link);
    if (has_more(link) || !pair_is_left(link->end, 1))
        return;
    if (pair_is_left(link->end, 0)) {
        drop(link);
    } else if (!link->shut) {
        link->shut = 1;
        asked(ASK_SHUT, number_of(link) << 32 | NO_MORE);
    }
}

void network_move(void)
{
    if (!uses)
        return;
    for (struct port *port = ports; port < ports + PORTS; port++)
        while (port->number && port->waits && socket_has_room(port->number) && accept_one(port))
            ;
    for (struct link *link = links; link < links + LINKS; link++)
        if (link->used && link->end)
            move(link);
        else if (link->used && link->writes)
            end_connecting(link);
}

void network_look(void)
{
    static struct told told[TOLD_MOST];
    long count = uses ? asked(ASK_READY, 0) : 0;
    if (count > 0 && (word)count <= TOLD_MOST) {
        monitor_take((char *)told, (word)count * sizeof *told);
        for (long i = 0; i < count; i++) {
            struct port *port = told[i].what & OF_PORT && told[i].number ? port_of(told[i].number) : NULL;
            if (port)
                port->waits = 1;
            if (told[i].what & OF_PORT || told[i].number >= LINKS)
                continue;
            links[told[i].number].reads |= told[i].what & READABLE;
            links[told[i].number].writes |= told[i].what & WRITABLE;
        }
    }
    network_move();
}

/* Nobody writes any more: what was written still goes out. */
void network_end(void)
{
    word deadline = ticks_ns() + LINGERS;
    for (int waits = uses; waits && ticks_ns() < deadline;) {
        network_look();
        waits = 0;
        for (struct link *link = links; link < links + LINKS; link++)
            waits |= link->used && link->end && has_more(link);
        if (waits)
            console_wait(deadline);
    }
}
