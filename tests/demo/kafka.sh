# A Kafka broker for the demo, from the jars in build/parts/kafka: source this, then
#
#     kafka_start DIR                 one KRaft node on free ports; "$kafka_brokers" reaches it
#     kafka_records TOPIC N           the first N committed records of a topic, a line each: key, tab, value
#     kafka_stop

kafka_pid=

kafka_java() {
    java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$kafka_dir/log4j2.yaml" -cp "build/parts/kafka/*" "$@"
}

kafka_start() {
    kafka_dir=$1
    local port controller
    port=$(free_port) controller=$(free_port)
    kafka_brokers=127.0.0.1:$port
    mkdir -p "$kafka_dir"
    cat >"$kafka_dir/server.properties" <<-CONF
	process.roles=broker,controller
	node.id=1
	controller.quorum.voters=1@127.0.0.1:$controller
	listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
	advertised.listeners=PLAINTEXT://127.0.0.1:$port
	controller.listener.names=CONTROLLER
	listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
	log.dirs=$kafka_dir/data
	group.initial.rebalance.delay.ms=0
	offsets.topic.replication.factor=1
	transaction.state.log.replication.factor=1
	transaction.state.log.min.isr=1
	CONF
    cat >"$kafka_dir/log4j2.yaml" <<-CONF
	Configuration:
	  Appenders:
	    Console: {name: STDERR, target: SYSTEM_ERR, PatternLayout: {pattern: "%d %p %m (%c)%n"}}
	  Loggers:
	    Root: {level: WARN, AppenderRef: {ref: STDERR}}
	CONF
    kafka_java kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c "$kafka_dir/server.properties" >"$kafka_dir/log" 2>&1
    setsid java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$kafka_dir/log4j2.yaml" \
        -cp "build/parts/kafka/*" kafka.Kafka "$kafka_dir/server.properties" >>"$kafka_dir/log" 2>&1 </dev/null &
    kafka_pid=$!
    for _ in {1..600}; do
        if (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; then return; fi
        kill -0 "$kafka_pid" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

kafka_records() {
    kafka_java org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$kafka_brokers" --topic "$1" --max-messages "$2" \
        --from-beginning --isolation-level read_committed --timeout-ms 20000 \
        --property print.key=true 2>"$kafka_dir/consumer.log"
}

kafka_stop() {
    [[ -n $kafka_pid ]] || return 0
    kill "$kafka_pid" 2>/dev/null || true
    wait "$kafka_pid" 2>/dev/null || true
    kafka_pid=
}
