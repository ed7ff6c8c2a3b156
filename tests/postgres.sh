# A throwaway PostgreSQL for scripts: source this, then
#
#     pg_start DIR          a new cluster in DIR on a free port of 127.0.0.1, wal_level=logical, superuser "postgres"
#     "$pg_url/NAME"        the URL of a database in it, after pg_start
#     pg_stop               ends it; DIR is the caller's to remove
#
# PostgreSQL does not run as root: as root it runs as the user postgres.

pg_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)

pg_as() {
    if [[ $(id -u) == 0 ]]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"
    else
        "$@"
    fi
}

# A port that nobody listens on, below the range that outgoing connections take theirs from.
free_port() {
    local port
    while port=$((15000 + RANDOM % 15000)); do
        (: </dev/tcp/127.0.0.1/$port) 2>/dev/null || break
    done
    echo "$port"
}

pg_start() {
    pg_dir=$1
    pg_port=$(free_port)
    pg_url=postgresql://postgres@127.0.0.1:$pg_port
    mkdir -p "$pg_dir"
    [[ $(id -u) != 0 ]] || chown postgres: "$pg_dir"
    pg_as "$pg_bin/initdb" -D "$pg_dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$pg_dir/initdb.log"
    cat >>"$pg_dir/data/postgresql.conf" <<-CONF
	listen_addresses = '127.0.0.1'
	port = $pg_port
	unix_socket_directories = '$pg_dir'
	wal_level = logical
	max_connections = 200
	fsync = off
	CONF
    # A session of its own: Ctrl-C is for the script, which then ends the server.
    if [[ $(id -u) == 0 ]]; then
        setsid setpriv --reuid=postgres --regid=postgres --clear-groups -- "$pg_bin/postgres" -D "$pg_dir/data" >"$pg_dir/log" 2>&1 </dev/null &
    else
        setsid "$pg_bin/postgres" -D "$pg_dir/data" >"$pg_dir/log" 2>&1 </dev/null &
    fi
    pg_pid=$!
    for _ in {1..200}; do
        if "$pg_bin/pg_isready" -q -d "$pg_url/postgres"; then return; fi
        kill -0 "$pg_pid" 2>/dev/null || break
        sleep 0.05
    done
    cat "$pg_dir/log" >&2
    return 1
}

pg_stop() {
    [[ -n ${pg_pid:-} ]] || return 0
    kill -INT "$pg_pid" 2>/dev/null || true
    wait "$pg_pid" 2>/dev/null || true
    pg_pid=
}
