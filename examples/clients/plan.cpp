// A plan from C++: the planning service over HTTP and JSON, with libcurl and nlohmann/json.
//
//     apt-get install g++ libcurl4-openssl-dev nlohmann-json3-dev
//     g++ -std=c++17 plan.cpp -lcurl -o plan
//     POWERPLAN_TOKEN=... POWERPLAN_CA=ca.pem ./plan https://localhost:8080 0.05
//
// POWERPLAN_CA names the authority of the server's certificate, where the system does not know it.

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using nlohmann::json;

constexpr int tries = 5;
constexpr long seconds = 60;

// A failure as the service tells it: a stable reason, the fields at fault.
struct PlannerError : std::runtime_error {
    std::string reason;
    json violations = json::array();

    explicit PlannerError(const json& answer) : std::runtime_error(answer.value("message", "no answer")) {
        reason = answer.value("code", "unknown");
        for (const json& detail : answer.value("details", json::array())) {
            const json told = detail.value("debug", json::object());
            reason = told.value("reason", reason);
            violations = told.value("fieldViolations", violations);
        }
    }
};

static std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

static size_t append(char* data, size_t size, size_t count, void* text) {
    static_cast<std::string*>(text)->append(data, size * count);
    return size * count;
}

// One call; waits and asks again while the server says that another try makes sense.
static json call(const std::string& address, const std::string& method, const json& request) {
    const std::string url = address + "/powerplan.v1.PlannerService/" + method, body = request.dump();
    const std::string token = environment("POWERPLAN_TOKEN"), authority = environment("POWERPLAN_CA");
    for (int attempt = 1;; ++attempt) {
        CURL* curl = curl_easy_init();
        curl_slist* headers = curl_slist_append(nullptr, "content-type: application/json");
        headers = curl_slist_append(headers, ("connect-timeout-ms: " + std::to_string(1000 * seconds)).c_str());
        if (!token.empty()) headers = curl_slist_append(headers, ("authorization: Bearer " + token).c_str());
        std::string answer;
        curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, seconds + 5);
        if (!authority.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, authority.c_str());
        const CURLcode failed = curl_easy_perform(curl);
        long status = 0;
        curl_off_t wait = 0;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &wait);
        curl_slist_free_all(headers);
        curl_easy_cleanup(curl);
        if (failed) throw std::runtime_error(curl_easy_strerror(failed));
        const json told = json::parse(answer, nullptr, false);
        if (status == 200) return told;
        if (wait == 0 || attempt == tries) throw PlannerError(told.is_object() ? told : json::object());
        std::this_thread::sleep_for(std::chrono::seconds(wait));
    }
}

static std::string base64(const std::string& bytes) {
    static const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const size_t count = std::min<size_t>(3, bytes.size() - i);
        unsigned group = 0;
        for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0);
        for (size_t k = 0; k < 4; ++k) text += k <= count ? digits[group >> (18 - 6 * k) & 63] : '=';
    }
    return text;
}

// An array as the wire has it: row-major, little-endian, as this machine should be.
static json tensor(const std::vector<int>& shape, const std::vector<double>& values) {
    std::string bytes(8 * values.size(), '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return {{"dtype", "DATA_TYPE_FLOAT64"}, {"shape", shape}, {"data", base64(bytes)}};
}

static json linear(const char* name, const char* input, const json& weight) {
    return {{"name", name}, {"type", "linear"}, {"inputs", {input}}, {"tensors", {{"weight", weight}}}};
}

int main(int, char** arguments) {
    const json relu = {{"name", "relu"}, {"type", "activation"}, {"inputs", {"hidden"}},
                       {"attributes", {{"kind", {{"textValue", "relu"}}}}}};
    const json nodes = {linear("hidden", "input", tensor({3, 2}, {0.5, -0.25, 0.75, 1, -0.5, 0.25})), relu,
                        linear("out", "relu", tensor({1, 3}, {1, -0.5, 0.25}))};
    const json task = {
        {"network", {{"graph", {{"inputShape", {2}}, {"output", "out"}, {"nodes", nodes}}}}},
        {"hardware", {{"programmingNoiseStdSiemens", 1e-6}}},
        {"inputs", tensor({4, 2}, {0.5, 1, -1, 0.25, 0.75, -0.5, 1, 1})},
        {"target", {{"maxNmse", std::stod(arguments[2])}}},
    };
    try {
        const json plan = call(arguments[1], "Plan", {{"task", task}})["plan"];
        std::cout << plan["termination"]["outcome"].get<std::string>() << '\n';
        for (const json& gain : plan["gains"]["conductanceSiemens"]) std::cout << gain["scalar"] << ' ';
        std::cout << '\n';
    } catch (const PlannerError& error) {
        std::cerr << error.reason << ": " << error.what() << '\n';
        for (const json& at : error.violations)
            std::cerr << "  " << at.value("field", "") << ": " << at.value("description", "") << '\n';
        return 1;
    }
}
