import pg from 'pg';

/** Of all bound services the one that is a PostgreSQL database, whoever provides it. */
function credentials() {
  const services = Object.values(JSON.parse(process.env.VCAP_SERVICES ?? '{}')).flat();
  const database = services.find(({ tags, credentials }) => tags?.includes('postgresql') || /^postgres(ql)?:/.test(credentials?.uri));
  if (database === undefined) {
    console.error('No PostgreSQL service is bound: cf create-service postgres small guestbook-db, then push again.');
    process.exit(1);
  }
  return database.credentials;
}

const { hostname, port, dbname, username, password, ca } = credentials();

export const pool = new pg.Pool({
  host: hostname,
  port,
  database: dbname,
  user: username,
  password,
  // The authority comes with the credentials: the server is who it says it is.
  ssl: ca === undefined ? false : { ca, servername: hostname },
  max: 4,
  connectionTimeoutMillis: 5000,
});

// A connection that breaks while nobody uses it: the next query opens another.
pool.on('error', (error) => console.error(`a connection to the database was lost: ${error.message}`));

/** Several instances start at once: one of them makes the table. */
export async function prepare() {
  const client = await pool.connect();
  try {
    await client.query('SELECT pg_advisory_lock(1)');
    await client.query(`CREATE TABLE IF NOT EXISTS entries (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      name text NOT NULL,
      words text NOT NULL,
      written timestamptz NOT NULL DEFAULT now())`);
  } finally {
    await client.query('SELECT pg_advisory_unlock(1)').catch(() => undefined);
    client.release();
  }
}
