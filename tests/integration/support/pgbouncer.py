"""PgBouncer in transaction mode, as it is configured out of the box."""

from pathlib import Path

from .process import Process, free_port


class PgBouncer:
    """bouncer.url(database);  bouncer.stop(), bouncer.start()"""

    def __init__(self, workshop, postgres, pool=3):
        self._workshop = workshop
        self.port = free_port()
        self._folder = workshop.make_folder("pgbouncer", unprivileged=True)
        (self._folder / "users.txt").write_text('"postgres" ""\n')
        (self._folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {self._folder}/users.txt\npool_mode = transaction\n"
            f"default_pool_size = {pool}\nmax_client_conn = 500\n"
        )
        self.start()

    def start(self):
        program = Path("/usr/sbin/pgbouncer")
        self.process = Process(
            self._workshop,
            [program if program.exists() else "pgbouncer", self._folder / "pgbouncer.ini"],
            self._folder,
            name="pgbouncer",
            unprivileged=True,
        )
        self.process.wait_listening(self.port)

    def stop(self):
        self.process.end()

    def url(self, database):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"
