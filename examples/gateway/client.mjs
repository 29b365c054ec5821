// A client of the gateway, for browsers and for Node.js: it connects again by itself, sends
// again what was not accepted, and hands over each message once.
//
//	const gateway = new Gateway(["ws://127.0.0.1:9000"], "alice", { message: (m) => console.log(m.from, m.text) })
//	await gateway.send("bob", "hello")   // bob's client has it

const remembered = 10_000 // messages that it knows again, the newest

export class Gateway {
	// heard has functions for what the gateway tells, all optional: message, line, missed,
	// presence, joined, refused, and state, which is told "open", "away" or "replaced".
	constructor(urls, user, heard = {}) {
		Object.assign(this, { urls, user, heard, next: 0, pause: 0, waiting: new Map(), known: new Set(), rooms: new Set(), watched: new Set() })
		this.session = crypto.randomUUID().slice(0, 8) // ids of this object are no other's
		this.count = 0
		this.connect()
	}

	connect() {
		const url = this.urls[this.next++ % this.urls.length]
		const socket = (this.socket = new WebSocket(`${url}/ws?user=${encodeURIComponent(this.user)}`))
		socket.onmessage = (m) => this.hear(JSON.parse(m.data))
		socket.onclose = (e) => this.closed(e)
		socket.onerror = () => {} // closed follows
	}

	closed(e) {
		this.open = false
		if (this.ended || e.code === 4001) {
			this.ended = true
			this.tell("state", e.code === 4001 ? "replaced" : "ended")
			return
		}
		this.tell("state", "away", e.code)
		// A node that goes away has another one beside it already; one that cannot be reached has not.
		this.pause = e.code === 1001 ? 0 : Math.min(this.pause * 2 + 50, 2000)
		setTimeout(() => this.ended || this.connect(), this.pause * (0.5 + Math.random()))
	}

	hear(e) {
		switch (e.is) {
			case "welcome":
				this.open = true
				this.pause = 0
				for (const room of this.rooms) this.say({ do: "join", room })
				if (this.watched.size) this.say({ do: "watch", users: [...this.watched] })
				for (const m of this.waiting.values()) this.say(m.request)
				this.tell("state", "open", e.node)
				break
			case "message": {
				this.say({ do: "got", from: e.from, id: e.id }) // also when it was here before: its sender has not heard so
				const key = `${e.from}/${e.id}`
				if (this.known.has(key)) return
				this.known.add(key)
				if (this.known.size > remembered) this.known.delete(this.known.values().next().value)
				this.tell("message", e)
				break
			}
			case "ack":
				this.settle(e.id, (m) => m.resolve())
				break
			case "nack":
				this.settle(e.id, (m) => m.reject(new Error(e.why)))
				break
			default:
				this.tell(e.is, e)
		}
	}

	settle(id, how) {
		const m = this.waiting.get(id)
		if (!m) return
		this.waiting.delete(id)
		how(m)
	}

	tell(what, ...args) {
		this.heard[what]?.(...args)
	}

	say(request) {
		if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(request))
	}

	// ask sends a request until it is answered, over however many connections.
	ask(request) {
		const id = `${this.session}-${++this.count}`
		return new Promise((resolve, reject) => {
			this.waiting.set(id, { request: { ...request, id }, resolve, reject })
			if (this.open) this.say({ ...request, id })
		})
	}

	// send gives a message to a user: it resolves when the user's client has it.
	send(to, text) {
		return this.ask({ do: "send", to, text })
	}

	// sayIn says something to everybody in a room, at most once: it resolves when it was published.
	sayIn(room, text) {
		return this.ask({ do: "say", room, text })
	}

	join(room) {
		this.rooms.add(room)
		if (this.open) this.say({ do: "join", room })
	}

	leave(room) {
		this.rooms.delete(room)
		this.say({ do: "leave", room })
	}

	watch(...users) {
		for (const u of users) this.watched.add(u)
		if (this.open) this.say({ do: "watch", users })
	}

	close() {
		this.ended = true
		this.socket.close(1000)
	}
}
