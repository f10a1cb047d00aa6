# NATS without a client: requests over bash's own sockets. Sourced by smoke.sh and
# targets/syscalls.sh.

# nats_open PORT: connects as descriptor 4, with a subscription for answers.
nats_open() {
  local line
  exec 4<>"/dev/tcp/127.0.0.1/$1"
  read -r -t 30 line <&4 && [[ $line == INFO* ]] || return 1
  printf 'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _INBOX.shell 1\r\nPING\r\n' >&4
  nats_line && [[ $nats_said == PONG ]]
}

# nats_line: the next line of the server, without its end, as $nats_said; answers pings.
nats_line() {
  while IFS= read -r -t 30 nats_said <&4; do
    nats_said=${nats_said%$'\r'}
    if [[ $nats_said == PING ]]; then printf 'PONG\r\n' >&4; else return 0; fi
  done
  return 1
}

# nats_publish SUBJECT PAYLOAD: at most once, and told when it was taken.
nats_publish() {
  local LC_ALL=C
  printf 'PUB %s %d\r\n%s\r\nPING\r\n' "$1" "${#2}" "$2" >&4
  nats_line && [[ $nats_said == PONG ]]
}

# nats_request SUBJECT PAYLOAD: prints the payload of the answer; 1 if there is none.
nats_request() {
  local LC_ALL=C words bytes
  printf 'PUB %s _INBOX.shell %d\r\n%s\r\n' "$1" "${#2}" "$2" >&4
  nats_line || return 1
  # MSG subject sid bytes; HMSG, which says that nobody answers, has no payload worth reading.
  [[ $nats_said == MSG* ]] || { echo "$nats_said" >&2; return 1; }
  read -ra words <<<"$nats_said"
  bytes=${words[-1]}
  IFS= read -r -t 30 -N "$bytes" nats_said <&4
  echo "$nats_said"
  IFS= read -r -t 30 _ <&4
}

nats_close() { exec 4>&-; }
