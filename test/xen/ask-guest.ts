import { text } from 'node:stream/consumers';

/** Runs in dom0: `ask-guest.js ADDRESS <SCRIPT` has the guest there run a script (hack/guest/www/cgi-bin/run). Its end is the script's. */
const [address = ''] = process.argv.slice(2);
const body = await text(process.stdin);
const answer = await fetch(`http://${address}/cgi-bin/run`, { method: 'POST', body });
process.stdout.write(await answer.text());
process.exitCode = Number(answer.headers.get('x-exit-status') ?? 255);
