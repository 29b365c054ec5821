// Two users on two nodes: alice writes to bob, whose node is drained meanwhile.
//
//	node --experimental-websocket talk.mjs ws://ALICE-NODE ws://BOB-NODE
import { Gateway } from "../client.mjs"

const [first, second] = process.argv.slice(2)
const count = 200
const came = new Map()
let accepted = 0
const states = []

const opened = (gateway) => new Promise((done) => (gateway.heard.state = (s) => s === "open" && done()))
const alice = new Gateway([first], "alice")
const bob = new Gateway([second, first], "bob", { message: (m) => came.set(m.text, (came.get(m.text) ?? 0) + 1) })
await Promise.all([opened(alice), opened(bob)])
bob.heard.state = (s, more) => states.push(`${s} ${more}`)

const line = new Promise((done) => (bob.heard.line = (l) => done(`${l.from} in ${l.room}: ${l.text}`)))
const joined = new Promise((done) => (bob.heard.joined = done))
bob.join("lobby")
await joined
const said = setInterval(() => alice.sayIn("lobby", "hello").catch(() => {}), 50) // until the subscription is known everywhere
console.log(await line)
clearInterval(said)

for (let i = 0; i < count; i++) {
	for (;;) {
		try {
			await alice.send("bob", `message ${i}`)
			break
		} catch (why) {
			console.error("again, since", why.message)
		}
	}
	if (++accepted === count / 2) console.log("half")
}
const twice = [...came.values()].filter((n) => n > 1).length
console.log(`${accepted} accepted, ${came.size} came, ${twice} twice`)
console.log(states.join(", ").replace(/open .*/, "open"))
alice.close()
bob.close()
