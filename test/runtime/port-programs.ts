/** Owns two Python programs for tests of networks: one that answers on ports, and one that asks there. */

/**
 * Answers each datagram, and each connection to PORT/KIND …, with the port it came to; after the word `peers` also with the
 * address it came from.
 */
export const service = `
import selectors, socket, sys
s = selectors.DefaultSelector()
peers = sys.argv[1] == 'peers'
def answer(word, peer): return (word + ' ' + peer[0] + '\\n' if peers else word).encode()
for word in sys.argv[2 if peers else 1:]:
    port, kind = word.split('/')
    k = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
    k.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    k.bind(('0.0.0.0', int(port)))
    if kind == 'tcp': k.listen()
    s.register(k, selectors.EVENT_READ, word)
print('ready', flush=True)
while True:
    for key, _ in s.select():
        k = key.fileobj
        if key.data.endswith('tcp'):
            c, peer = k.accept()
            c.sendall(answer(key.data, peer))
            c.close()
        else:
            _, peer = k.recvfrom(100)
            k.sendto(answer(key.data, peer), peer)
`

/** Prints the answer, or the failure, of each HOST:PORT/KIND. Before them those where nobody must listen, one word: asked once. */
export const ask = `
import socket, sys, time
def answer(word):
    where, kind = word.split('/')
    host, port = where.split(':')
    for _ in range(200):
        try:
            k = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
            k.settimeout(20)
            k.connect((host, int(port)))
            if kind == 'udp': k.send(b'?')
            return k.recv(100).decode().strip()
        except OSError as error:
            last = error
            if 'refused' in str(error) and word in sys.argv[1].split(): break
            time.sleep(0.1)
    return str(last)
for word in sys.argv[2:]: print(answer(word))
`
